"""The Jinja environment of the answers that are text, and how shell gets into one line."""

import json
from functools import cache

import jinja2

OPEN_ENDS = ("{", "(", "|", "&&", "||", "&", ";", " in", "then", "do", "else", "\\")
"""After these a shell's line goes on, or has already ended its command."""


@cache
def environment() -> jinja2.Environment:
    """Templates of this package."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("kickstarts"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        auto_reload=False,  # installed files do not change, and looking costs a third of the time
    )
    made.filters["continued"] = continued
    made.filters["lines"] = shell_lines
    made.filters["quoted"] = json.dumps  # what is text in JSON is text in YAML
    return made


def continued(script: str) -> str:
    r"""A shell script as the one logical line that debconf takes: each line ends with `\`.

    For scripts without here-documents and without strings that go over a line's end. Comments
    are left out, as they would comment out the rest.
    """
    lines = [line.rstrip() for line in script.splitlines()]
    kept = [line for line in lines if line and not line.lstrip().startswith("#")]
    ended = [line if line.endswith(OPEN_ENDS) else f"{line};" for line in kept]
    joined = [line if line.endswith("\\") else f"{line} \\" for line in ended]
    return "\n".join(f"    {line}" for line in joined).strip().removesuffix(" \\")


def shell_lines(text: str) -> str:
    """Lines as the arguments of `printf '%s\\n'`, one below the other.

    Raises ValueError for a single quote, which would end its argument.
    """
    if "'" in text:
        raise ValueError("a single quote in lines that a shell is to write")
    return "".join(f" \\\n    '{line}'" for line in text.splitlines())
