"""What a program for 64-bit little-endian Linux needs to run (System V ABI, chapters 4 and 5)."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pxe.errors import MissingProgram

_MAGIC = b"\x7fELF\x02\x01"
_PROGRAM_TABLE, _PROGRAM_COUNTS = 32, 54
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5
_FOLDERS = ("lib64", "lib/x86_64-linux-gnu", "lib", "usr/lib64", "usr/lib/x86_64-linux-gnu")
"""Where the dynamic loader looks by itself, on Fedora's and on Debian's side."""


def is_elf(program: bytes) -> bool:
    """Whether these are the bytes of such a program."""
    return program.startswith(_MAGIC)


def is_static(program: bytes) -> bool:
    """Whether the program runs without a dynamic loader."""
    return is_elf(program) and interpreter(program) is None


def interpreter(program: bytes) -> str | None:
    """The dynamic loader that it asks for, an absolute path."""
    for kind, offset, _, size in _segments(program):
        if kind == _INTERPRETER:
            return program[offset : offset + size].rstrip(b"\0").decode()
    return None


def needed(program: bytes) -> tuple[str, ...]:
    """The names of the shared libraries that it asks for itself."""
    segments = list(_segments(program))
    pairs = [
        struct.unpack_from("<QQ", program, at)
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for at in range(offset, offset + size, 16)
    ]
    strings = next((value for tag, value in pairs if tag == _STRINGS), 0)
    start = next(
        (
            offset + strings - address
            for kind, offset, address, size in segments
            if kind == _LOAD and address <= strings < address + size
        ),
        0,
    )
    names = (value for tag, value in pairs if tag == _NEEDED)
    return tuple(_string(program, start + name) for name in names)


def with_libraries(program: Path, root: Path = Path("/")) -> Mapping[str, bytes]:
    """The program, its loader and all libraries: path below `root` to content.

    Raises MissingProgram when a library is not installed.
    """
    first = program.read_bytes()
    found = {str(program.relative_to(root)): first}
    waiting = [first]
    if loader := interpreter(first):
        found[loader.lstrip("/")] = (root / loader.lstrip("/")).read_bytes()
    seen = {Path(path).name for path in found}
    while waiting:
        for name in needed(waiting.pop()):
            if name not in seen:
                seen.add(name)
                path = _library(name, root, _FOLDERS)
                found[str(path.relative_to(root))] = content = path.read_bytes()
                waiting.append(content)
    return found


def _library(name: str, root: Path, folders: Sequence[str]) -> Path:
    for folder in folders:
        if (root / folder / name).is_file():
            return root / folder / name
    raise MissingProgram(f"the library {name} is not installed below {root}")


def _segments(program: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Kind, place in the file, address, and size in the file."""
    (table,) = struct.unpack_from("<Q", program, _PROGRAM_TABLE)
    width, count = struct.unpack_from("<HH", program, _PROGRAM_COUNTS)
    for number in range(count):
        kind, _, offset, address, _, size = struct.unpack_from(
            "<IIQQQQ", program, table + number * width
        )
        yield kind, offset, address, size


def _string(program: bytes, start: int) -> str:
    return program[start : program.index(b"\0", start)].decode()
