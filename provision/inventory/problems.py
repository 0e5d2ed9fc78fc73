"""What is wrong with an inventory, as values: one problem, one sentence, one place."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provision.errors import BadInput
from provision.inventory.model import Place

NEAR = 0.6
"""How like two words must be, of 1, so that one may be a misspelling of the other."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an inventory, told so that it can be mended without reading code."""

    place: Place
    key: str
    """Path of the key from the top, with dots; empty for the file as a whole."""
    message: str
    """What was found and what was expected, without a full stop."""
    hint: str | None = None

    @property
    def text(self) -> str:
        """The whole sentence, `file:line: key: message`."""
        key = f"{self.key}: " if self.key else ""
        return f"{self.place}: {key}{self.message}"

    def __str__(self) -> str:
        return self.text


class InventoryInvalid(BadInput):
    """The inventory cannot be used; `problems` are all that is wrong with it, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (str(p.place.path), p.place.line)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when none is near."""
    return next(iter(all_nearest(word, known)), None)


def all_nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words most like `word` and equally so, in their order; none when none is near.

    For a host's name the choice is a person's: `cmp0` is as near to cmp01 as to cmp04.
    """
    matcher = difflib.SequenceMatcher(b=word.lower())
    likeness = {}
    for name in known:
        matcher.set_seq1(name.lower())
        likeness[name] = matcher.ratio()
    best = max(likeness.values(), default=0.0)
    return [name for name, ratio in likeness.items() if ratio == best >= NEAR]


def suggestion(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown word: the nearest, all those equally near, else every one."""
    near = all_nearest(word, known)
    if not near:
        return f"known here: {', '.join(known) or 'none'}"
    return f"did you mean {' or '.join(map(repr, near))}?"
