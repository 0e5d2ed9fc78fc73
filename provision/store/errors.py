"""What can go wrong with the store, named for what a person must do about it."""

from provision.errors import ProvisionError


class StoreError(ProvisionError):
    """Base of the store's errors."""


class StoreUnusable(StoreError):
    """The database cannot be reached, opened, locked or written; the message names it."""


class SchemaMismatch(StoreError):
    """The database was written by another version of the program."""
