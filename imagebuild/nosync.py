"""No waiting for the disk inside a build: what it syncs is thrown away or written out later."""

import ctypes
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
"""With errno 0: the call does nothing and succeeds (seccomp(2))."""

LOAD_WORD = 0x20
JUMP_IF_EQUAL = 0x15
RETURN = 0x06
ARCH_OFFSET = 4
"""Of the architecture in struct seccomp_data; the call's number is at 0."""


@dataclass(frozen=True, slots=True)
class Calls:
    """How an architecture numbers sync, fsync, fdatasync, syncfs, msync, sync_file_range."""

    audit_arch: int
    numbers: Sequence[int]


CALLS: Mapping[str, Calls] = {
    "x86_64": Calls(0xC000003E, (162, 74, 75, 306, 26, 277)),
    "aarch64": Calls(0xC00000B7, (81, 82, 83, 267, 227, 84)),
}


def program(calls: Calls) -> bytes:
    """The filter (classic BPF): calls of another architecture and all other calls are allowed."""
    numbers = calls.numbers
    words = [
        (LOAD_WORD, 0, 0, ARCH_OFFSET),
        (JUMP_IF_EQUAL, 0, len(numbers) + 1, calls.audit_arch),
        (LOAD_WORD, 0, 0, 0),
        *((JUMP_IF_EQUAL, len(numbers) - n, 0, number) for n, number in enumerate(numbers)),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO),
    ]
    return b"".join(struct.pack("HBBI", *word) for word in words)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_LIBC = ctypes.CDLL(None, use_errno=True)
_CALLS = CALLS.get(platform.machine())
_FILTER = program(_CALLS) if _CALLS else b""


def suppress_sync() -> None:
    """Make this process and all that it starts skip syncs; needs root.

    For use between fork and exec. Where it cannot be done the build is slower, nothing else.
    """
    if _FILTER:
        filled = _Program(len(_FILTER) // 8, _FILTER)
        _LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0)
