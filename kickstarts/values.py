"""What single values may look like, so that a template can write them down as they are.

An answer file is read by an installer as one of its users that may do everything, and parts of
it by a shell. So each value is one of a few shapes that mean the same to both: none can end its
line, its quotes or its section.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from kickstarts.errors import BadValue

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""RFC 1123, 2.1: letters, digits and inner hyphens, at most 63; lower case is ours."""

MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"

SHAPES: Mapping[str, tuple[str, str]] = {
    "name": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, '.', '_' and '-'"),
    "host": (LABEL, "a host name of lower-case letters, digits and inner hyphens"),
    "domain": (rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*", "a domain name such as example.org"),
    "server": (rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*", "a host's name or address"),
    "user": (r"[a-z_][a-z0-9_-]{0,30}", "a user name of lower-case letters, digits, '_' and '-'"),
    "port": (r"[A-Za-z][A-Za-z0-9._-]{0,14}", "an interface name of at most 15 characters"),
    "mac": (MAC, "a MAC address such as 52:54:00:aa:00:01"),
    "url": (
        r"https?://[A-Za-z0-9.:\[\]-]+(?:/(?:[A-Za-z0-9._~/+:@=&?,-]|%[0-9A-Fa-f]{2})*)?",
        "an http or https URL without quotes and white space",
    ),
    "https": (
        r"https://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?",
        "an https URL without quotes and white space",
    ),
    "pin": (r"sha256//[A-Za-z0-9+/]{43}=", "sha256// and the digest of a key in base64"),
    "word": (r"[A-Za-z0-9][A-Za-z0-9._:+/=,-]{0,255}", "one word without quotes or white space"),
    "package": (r"@?\^?[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", "the name of a package or @group"),
    "argument": (r"[A-Za-z0-9_.-]+(?:=[A-Za-z0-9_.,:/+=-]*)?", "one word for the kernel"),
    "serial": (r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}", "a disk's serial number"),
    "path": (
        r"/dev/disk/by-(?:path|id)/[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}",
        "a path below /dev/disk/by-path or by-id, which does not move between boots",
    ),
    "zone": (r"[A-Z][A-Za-z_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", "a time zone such as Etc/UTC"),
    "locale": (r"[a-z]{2,3}_[A-Z]{2}(?:\.UTF-8)?", "a locale such as en_US.UTF-8"),
    "keyboard": (r"[a-z]{2,10}(?:-[a-z0-9]+)*", "a keyboard map such as us"),
    "pci": (r"[0-9a-f]{4}", "four hexadecimal digits"),
    "firewall": (
        r"[a-z][a-z0-9-]{0,31}|[0-9]{1,5}(?:-[0-9]{1,5})?/(?:tcp|udp)",
        "a firewall service such as ssh, or ports such as 5900-6100/tcp",
    ),
    "key": (
        r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-[a-z0-9@.-]+)"
        r" [A-Za-z0-9+/]+={0,3}(?: [A-Za-z0-9._@+:-]{1,128})?",
        "an OpenSSH public key on one line, with a comment of one word at most",
    ),
    "hash": (
        r"\$6\$(?:rounds=[0-9]{4,9}\$)?[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{86}"
        r"|\$y\$[A-Za-z0-9./]+\$[A-Za-z0-9./]{0,86}\$[A-Za-z0-9./]{43}",
        "a password's hash, SHA-512 ($6$) or yescrypt ($y$), as mkpasswd prints it",
    ),
    "password": (
        r"[A-Za-z0-9_-]{12,128}",
        "12 to 128 letters, digits, '_' and '-': it stands in URLs, in SQL and in INI files",
    ),
    "variable": (r"[A-Z][A-Z0-9_]{0,63}", "a variable's name of capitals, digits and '_'"),
    "setting": (r"[A-Za-z0-9 ._:+/=,@\[\]-]{0,1000}", "a text without quotes, $, ` and \\"),
    "text": (r"[A-Za-z0-9 ._:+/=,@()-]{1,200}", "one line of plain text without quotes"),
}
"""Each shape as the whole of a value, and what to tell who wrote another."""

_COMPILED = {name: re.compile(pattern) for name, (pattern, _) in SHAPES.items()}


def check(shape: str, field: str, value: object) -> None:
    """Raises BadValue unless the value, as a template would write it, has the shape."""
    if not isinstance(value, str):
        value = str(value)
    # fullmatch: `$` would let a newline pass at the end. ASCII: look-alikes are refused.
    if not value.isascii() or not _COMPILED[shape].fullmatch(value):
        raise BadValue(field, SHAPES[shape][1])


def check_all(shape: str, field: str, values: Iterable[object]) -> None:
    """Raises BadValue for the first value that has another shape."""
    for index, value in enumerate(values):
        check(shape, f"{field}[{index}]", value)


def check_optional(shape: str, field: str, value: object | None) -> None:
    """As `check`, and nothing is fine."""
    if value is not None:
        check(shape, field, value)


class Secret:
    """A text that shows itself to nobody who does not ask by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


MASK = "***"
"""What stands for a secret where people look."""

Reveal = Callable[[Secret], str]
"""How a template writes a secret: as it is, or masked."""
