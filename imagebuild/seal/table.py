"""The seal table: every identity and leftover that a finished image must not carry."""

from imagebuild.seal import identity, leftovers, network, packages, secrets, storage
from imagebuild.seal.row import Row

TABLE: tuple[Row, ...] = (
    *identity.ROWS,
    *network.ROWS,
    *storage.ROWS,
    *secrets.ROWS,
    *packages.ROWS,
    *leftovers.ROWS,
)
"""In the order in which an image is sealed and verified."""
