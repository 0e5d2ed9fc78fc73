"""MAC addresses in one spelling."""

import re
from dataclasses import dataclass
from typing import Self

_SPELLINGS = (
    re.compile(r"([0-9a-f]{2})" + r":([0-9a-f]{2})" * 5, re.IGNORECASE),
    re.compile(r"([0-9a-f]{2})" + r"-([0-9a-f]{2})" * 5, re.IGNORECASE),
    re.compile(r"([0-9a-f]{2})" * 6, re.IGNORECASE),
    re.compile(r"([0-9a-f]{2})([0-9a-f]{2})" + r"\.([0-9a-f]{2})([0-9a-f]{2})" * 2, re.IGNORECASE),
)
"""Colons (Linux), dashes (GRUB, Windows), bare, and Cisco's dotted quadruples."""


@dataclass(frozen=True, slots=True, order=True)
class MacAddress:
    """An Ethernet hardware address; `str()` gives lower-case hexadecimal with colons."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(self.octets)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read any usual spelling.

        Raises ValueError when `text` is none of them.
        """
        for spelling in _SPELLINGS:
            if match := spelling.fullmatch(text):
                return cls(bytes.fromhex("".join(match.groups())))
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:aa:00:01")

    @property
    def is_multicast(self) -> bool:
        """Whether the group bit is set (IEEE 802-2014, 8.2): never a single machine."""
        return bool(self.octets[0] & 1)

    @property
    def dashed(self) -> str:
        """The spelling that pxelinux and GRUB use in file names, without their `01-`."""
        return self.octets.hex("-")

    def __str__(self) -> str:
        return self.octets.hex(":")
