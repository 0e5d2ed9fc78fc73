"""The shell script that seals a system, rendered from the table."""

from importlib.resources import files

from imagebuild.seal.row import Row
from imagebuild.seal.table import TABLE

_HEAD = "functions.sh"


def render(table: tuple[Row, ...] = TABLE) -> str:
    """POSIX sh that is run within the system; its argument is another root, for tests."""
    head = (files("imagebuild.seal") / _HEAD).read_text(encoding="utf-8")
    return "\n".join([head, *(block for row in table for block in _block(row)), "exit 0", ""])


def _block(row: Row) -> list[str]:
    lines = [line for rule in row.rules for line in rule.shell()]
    return [f"# {row.name}: {row.what}", *lines, ""] if lines else []
