"""Whether what our packages ask for exists: under that name, in a target's repositories."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from rpmspecs.capabilities import Capabilities
from rpmspecs.capture import capture
from rpmspecs.namelist import NameList
from rpmspecs.order import names_in
from rpmspecs.running import Programs
from rpmspecs.spec import syntax_error
from rpmspecs.target import Target, macros_of


class Kind(Enum):
    """How much a package asks."""

    REQUIRES = "requires"
    RECOMMENDS = "recommends"
    SUGGESTS = "suggests"


class Verdict(Enum):
    """What is known of a name."""

    FOUND = "found"
    UNVERIFIED = "not verified"
    """It is said to exist, and nobody saw it."""
    RENAMED = "renamed"
    GONE = "gone"
    ABSENT = "not found"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one name, and how."""

    verdict: Verdict
    how: str
    """For a person: the new name, where it was looked for, who says so."""
    instead: str = ""
    """The new name of a renamed one."""
    installs: bool = False
    """Whether a package that asks for the name can be installed."""


class Known(Protocol):
    """Something that knows which names a target has."""

    @property
    def origin(self) -> str:
        """What the answers rest on."""

    def ask(self, name: str) -> Answer:
        """What is known of a package's name or of another capability."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that one of our packages asks for."""

    package: str
    kind: Kind
    text: str
    """As in the spec: `chrony`, `(a or b)`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A name that is not as it should be."""

    need: Need
    name: str
    answer: Answer
    fatal: bool
    """Whether the package cannot be installed for it."""


def check(needs: Sequence[Need], own: frozenset[str], known: Known) -> list[Finding]:
    """Every need that neither our own packages nor the target answer, in the order of the needs."""
    asked: dict[str, Answer] = {}

    def answer(name: str) -> Answer:
        if name in own:
            return Answer(Verdict.FOUND, "our own", installs=True)
        if name not in asked:
            asked[name] = known.ask(name)
        return asked[name]

    return [finding for need in needs for finding in _findings(need, answer)]


class _Ask(Protocol):
    def __call__(self, name: str) -> Answer: ...


def _findings(need: Need, ask: _Ask) -> Iterator[Finding]:
    names = wanted(need.text)
    answers = {name: ask(name) for name in names}
    one_is_enough = " or " in need.text
    satisfied = one_is_enough and any(one.installs for one in answers.values())
    for name, one in answers.items():
        if one.verdict is not Verdict.FOUND:
            fatal = need.kind is Kind.REQUIRES and not one.installs and not satisfied
            yield Finding(need, name, one, fatal)


def wanted(text: str) -> list[str]:
    """The names that a dependency wants; what stands behind `if` and `unless` it only asks about.

    File paths, interpreters' and rpm's own capabilities are answered by what is installed anyway.
    """
    rule = re.split(r"\s(?:if|unless)\s", text, maxsplit=1)[0]
    if rule != text:
        rule = rule.lstrip("(")
        rule = f"({rule})" if re.search(r"\s(or|and|with|without)\s", rule) else rule
    return [name for name in names_in(rule) if not re.match(r"/|rpmlib\(|config\(", name)]


QUERY = (
    "".join(f"[{kind.name}\\t%{{=NAME}}\\t%{{{kind.name[:-1]}NEVRS}}\\n]" for kind in Kind)
    + "[PROVIDES\\t%{=NAME}\\t%{PROVIDENAME}\\n]"
)


def read_needs(
    specs: Sequence[Path], target: Target, programs: Programs
) -> tuple[list[Need], frozenset[str]]:
    """What the packages of some specs ask for on a target, and what they provide themselves.

    Raises BadInput for a spec that rpm cannot read, ToolMissing.
    """
    needs: list[Need] = []
    provided: set[str] = set()
    for spec in specs:
        path = spec.absolute()
        macros: Mapping[str, str] = {"_sourcedir": str(path.parent), **macros_of(target)}
        defines = [word for name, value in macros.items() for word in ("-D", f"{name} {value}")]
        argv = ["rpmspec", "--target", target.arch, *defines, "-q", "--qf", QUERY, str(path)]
        said = capture(programs.start, argv)
        if said.status:
            raise syntax_error(path, said)
        found, own = parse_needs(said.out)
        needs += found
        provided |= own
    return needs, frozenset(provided)


def parse_needs(text: str) -> tuple[list[Need], set[str]]:
    """The answer to `QUERY`."""
    needs: dict[Need, None] = {}
    provided = set()
    for line in text.splitlines():
        kind, package, what = line.split("\t", 2)
        if kind == "PROVIDES":
            provided.add(what)
        elif wanted(what):
            needs[Need(package, Kind[kind], what)] = None
    return list(needs), provided


@dataclass(frozen=True, slots=True)
class FromNames:
    """Answers from a recorded list."""

    names: NameList

    @property
    def origin(self) -> str:
        """The list and its day."""
        return self.names.origin

    def ask(self, name: str) -> Answer:
        """What the list says."""
        if name in self.names.renamed:
            new = self.names.renamed[name]
            return Answer(Verdict.RENAMED, f"is called {new} now", new)
        if name in self.names.gone:
            return Answer(Verdict.GONE, self.names.gone[name])
        recorded = self.names.names.get(name)
        if recorded is None:
            return Answer(Verdict.ABSENT, f"not in {self.origin}")
        if not recorded.seen:
            return Answer(Verdict.UNVERIFIED, recorded.note or "nobody saw it", installs=True)
        seen = ", ".join(self.names.sources[key].what for key in recorded.seen)
        return Answer(Verdict.FOUND, seen, installs=True)


@dataclass(frozen=True, slots=True)
class FromRepositories:
    """Answers from the metadata of a target's repositories."""

    capabilities: Capabilities
    origin: str
    names: NameList | None = None
    """Says the new name of what is gone; never that something exists."""

    def ask(self, name: str) -> Answer:
        """What the metadata says; the list helps with what is not there.

        A name that is no package's any more and that some package obsoletes is that one's old
        name, whether or not it still answers to it.
        """
        there = name in self.capabilities.provided
        by = self.capabilities.obsoleted.get(name)
        if name not in self.capabilities.packages and by is not None:
            return Answer(Verdict.RENAMED, f"is obsoleted by {by}", by, there)
        if there:
            return Answer(Verdict.FOUND, self.origin, installs=True)
        if self.names is not None and name in (*self.names.renamed, *self.names.gone):
            return FromNames(self.names).ask(name)
        return Answer(Verdict.ABSENT, f"not in {self.origin}")


@dataclass(frozen=True, slots=True)
class Both:
    """Answers from the repositories that could be read, from the list for the rest."""

    repositories: FromRepositories
    names: FromNames

    @property
    def origin(self) -> str:
        """Both."""
        return f"{self.repositories.origin}, and {self.names.origin}"

    def ask(self, name: str) -> Answer:
        """A package that was not found may be in a repository that was not read."""
        answer = self.repositories.ask(name)
        return self.names.ask(name) if answer.verdict is Verdict.ABSENT else answer
