"""How every process of ours logs: lines on standard error."""

import logging
import sys

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""By how often `-v` was said; what is said more often means the last."""
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_verbosely(verbose: int, *, force: bool = False) -> None:
    """Log as `verbose` says; with `force` also where logging was set up before."""
    log_at(LEVELS[min(verbose, len(LEVELS) - 1)], force=force)


def log_at(level: int, *, force: bool = False) -> None:
    """Log what is at this level or above."""
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr, force=force)
