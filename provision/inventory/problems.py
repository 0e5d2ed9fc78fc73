"""What is wrong with an inventory, as values: one problem, one sentence, one place."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provision.errors import BadInput
from provision.inventory.model import Place


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
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def suggestion(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown word: the nearest one, else all of them."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else f"known here: {', '.join(known) or 'none'}"
