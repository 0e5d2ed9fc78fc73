"""A kickstart in its consumer's hands: pykickstart reads it as the release's installer does."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pykickstart.errors import KickstartError, KickstartWarning
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

WHOLE = 0
"""The line of a finding about the text as a whole."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that the installer would not take, or would not find."""

    line: int
    """Counted from 1."""
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class Script:
    """A section that a shell runs."""

    section: str
    """%pre, %post and so on, or the path of the file that one of them writes."""
    line: int
    """Of the section's head, or of the command; the text begins on the next one."""
    interpreter: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What an installer's reader made of a text."""

    findings: tuple[Finding, ...]
    scripts: tuple[Script, ...]
    packages: tuple[str, ...] = ()
    """Packages that are installed by name, without groups of them."""


def read(text: str, syntax: str) -> Reading:
    """Read a kickstart in the language `syntax` (RHEL9, F43), to its end and with all problems."""
    with warnings.catch_warnings():
        # What is deprecated or said twice, as two keys of one user are, still works.
        warnings.simplefilter("ignore", KickstartWarning)
        parser = _Parser(makeVersion(syntax))
        parser.read_all(text)
        scripts = tuple(
            Script(_section(each), each.lineno, each.interp, each.script)
            for each in parser.handler.scripts
        )
        included = {*_included(text, parser, scripts)}
    packages = tuple(parser.handler.packages.packageList)
    return Reading(tuple(sorted({*parser.findings, *included})), scripts, packages)


def _included(text: str, parser: "_Parser", scripts: Sequence[Script]) -> Iterator[Finding]:
    """What is wrong with the parts that %pre writes; the installer reads them as the rest."""
    before = [each for each in scripts if each.section.startswith("%pre")]
    for path in parser.included:
        writers = [each for each in before if path in each.text]
        if not writers:
            line = _line_of(f"%include {path}", text)
            yield Finding(line, f"%include {path}: no %pre script writes it")
        for script in writers:
            for match in PART.finditer(script.text.replace(path, INCLUDED)):
                inner = _Parser(parser.handler)
                inner.read_all(VARIABLE.sub(_some, match["text"]))
                first = script.line + match.string.count("\n", 0, match.start("text"))
                for each in inner.findings:
                    line = first + each.line if each.line else script.line
                    yield Finding(line, f"{path}: {each.message}")


INCLUDED = "@included@"
PART = re.compile(
    rf"^cat >{INCLUDED} <<(?P<end>\w+)\n(?P<text>.*?)^(?P=end)$", re.MULTILINE | re.DOTALL
)
VARIABLE = re.compile(r"\$(?:(?P<number>[1-9])|\w+)")


def _some(variable: re.Match[str]) -> str:
    """What a script may put in the place of a variable: a device."""
    return f"sd{chr(ord('a') + int(variable['number'] or 1) - 1)}"


WRITTEN = re.compile(
    r"^cat >(?P<path>\S+) <<'(?P<end>[A-Z_-]+)'\n"
    r"(?P<text>#!(?P<shell>/bin/(?:ba)?sh)\n.*?)^(?P=end)$",
    re.MULTILINE | re.DOTALL,
)
"""A script that a script writes for later."""


def written(script: Script) -> Iterator[Script]:
    """The scripts that a script writes to files as they stand, to be run later."""
    for match in WRITTEN.finditer(script.text):
        line = script.line + 1 + script.text.count("\n", 0, match.start())
        yield Script(match["path"], line, match["shell"], match["text"])


def validate(text: str, syntax: str) -> Sequence[Finding]:
    """What the installer of a release would object to, in the order of the lines."""
    return read(text, syntax).findings


def _section(script: object) -> str:
    """The name of a script's section, as its own writer puts it."""
    return next(word for word in str(script).split() if word.startswith("%"))


def _line_of(wanted: str, text: str) -> int:
    """Where a line stands, for what pykickstart tells without a number."""
    lines = (line.strip() for line in text.splitlines())
    return next((number for number, line in enumerate(lines, 1) if line == wanted), WHOLE)


class _Parser(KickstartParser):  # type: ignore[misc]  # it has no types
    """Collects what pykickstart would print and count, or raise and end with."""

    def __init__(self, handler: object) -> None:
        super().__init__(handler)
        self.findings: list[Finding] = []
        self.included: list[str] = []

    def read_all(self, text: str) -> None:
        """Read to the end, or as far as the sections can be told apart."""
        try:
            self._collect(lambda: self.readKickstartFromString(text))
        except ValueError as error:  # shlex: quotes that do not end
            self.findings.append(Finding(_line_of(self._line.strip(), text), str(error)))

    def _tryFunc(self, fn: Callable[[], object]) -> None:  # noqa: N802
        self._collect(fn)

    def _handleInclude(self, f: str) -> None:  # noqa: N802
        self.included.append(f)

    def _collect(self, read: Callable[[], object]) -> None:
        try:
            read()
        except KickstartError as error:
            message = " ".join(str(error.message).split())
            self.findings.append(Finding(error.lineno or WHOLE, message))
