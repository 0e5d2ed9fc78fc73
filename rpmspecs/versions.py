"""Which of two versions is newer, as rpm sees it (rpm's docs/man/rpm-version.7)."""

import re
from functools import cmp_to_key
from itertools import zip_longest

_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
"""All else only parts these."""


def compare(one: str, other: str) -> int:
    """Less than 0 when `one` is older, more when it is newer, 0 when they are the same."""
    for mine, theirs in zip_longest(_PART.findall(one), _PART.findall(other), fillvalue=""):
        if mine == theirs:
            continue
        if "~" in (mine, theirs):  # before the end of a version
            return -1 if mine == "~" else 1
        if "^" in (mine, theirs):  # after the end, and before all that goes on
            if "" in (mine, theirs):
                return 1 if mine == "^" else -1
            return -1 if mine == "^" else 1
        if mine.isdigit() and theirs.isdigit():
            if int(mine) != int(theirs):
                return 1 if int(mine) > int(theirs) else -1
        elif mine.isdigit() != theirs.isdigit():
            if "" in (mine, theirs):
                return 1 if mine else -1
            return 1 if mine.isdigit() else -1
        else:
            return 1 if mine > theirs else -1
    return 0


def compare_evr(one: tuple[str, str, str], other: tuple[str, str, str]) -> int:
    """The same for epoch, version and release."""
    pairs = zip(one, other, strict=True)
    return next((found for mine, theirs in pairs if (found := compare(mine, theirs))), 0)


evr_key = cmp_to_key(compare_evr)
"""For sorting epochs, versions and releases."""
