"""Loop devices that a killed build left behind."""

import ctypes
import fcntl
import logging
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

# linux/loop.h
LOOP_CLR_FD = 0x4C01
LOOP_GET_STATUS64 = 0x4C05
INFO_SIZE = 232
NAME_OFFSET = 56
NAME_SIZE = 64
"""Of lo_file_name in struct loop_info64: the path as losetup was given it, cut off."""
PATIENCE = 10.0
"""Seconds."""


def attached() -> Iterator[tuple[Path, str]]:
    """Every loop device in use that we may open, and the path its file had when it was attached.

    The path in /sys/block will not do: for a file in a tmpfs of a build's own it begins there.
    """
    for entry in sorted(Path("/sys/block").glob("loop*")):
        device = Path("/dev", entry.name)
        with suppress(OSError):
            with _opened(device) as descriptor:
                info = fcntl.ioctl(descriptor, LOOP_GET_STATUS64, bytes(INFO_SIZE))
            name = info[NAME_OFFSET : NAME_OFFSET + NAME_SIZE].split(b"\0")[0]
            yield device, os.fsdecode(name)


def detach_below(folder: Path) -> list[Path]:
    """Detach every loop device whose file lay in `folder`; returns those that stay in use.

    The namespaces of a killed build end a moment after its last process, and what was mounted in
    them with them: until then a device is busy, and we wait PATIENCE seconds for it.
    """
    deadline = time.monotonic() + PATIENCE
    seen: set[Path] = set()
    while busy := [device for device, name in attached() if Path(name).is_relative_to(folder)]:
        for device in busy:
            if device not in seen:
                log.info("detach what a killed build left device=%s", device)
            seen.add(device)
            _drop_partitions(device)
            with suppress(OSError):  # somebody else was faster
                _detach(device)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    taken = {device for device, _ in attached()}
    for device in seen - taken:  # by now one may be another build's
        _drop_partitions(device)  # those that were mounted outlive the file
    return busy


def _detach(device: Path) -> None:
    """Detach a device's file, now or when its last user is gone."""
    with _opened(device) as descriptor:
        fcntl.ioctl(descriptor, LOOP_CLR_FD)


@contextmanager
def _opened(device: Path) -> Iterator[int]:
    """A loop device to ask or to tell something, also where /dev lacks it.

    A container's /dev has only the nodes that were there when it began, and a build with device
    nodes of its own may have taken any other; who could make those can make one here.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = _open_by_number(device.name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_by_number(name: str) -> int:
    major, minor = map(int, Path("/sys/block", name, "dev").read_text("ascii").split(":"))
    with tempfile.TemporaryDirectory(dir="/dev", prefix="rackseed-") as folder:
        node = Path(folder, name)
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(major, minor))
        return os.open(node, os.O_RDONLY | os.O_CLOEXEC)


# linux/blkpg.h
BLKPG = 0x1269
BLKPG_DEL_PARTITION = 2


def _drop_partitions(device: Path) -> None:
    """Make the kernel forget partitions that were added to a loop device."""
    for part in sorted(Path("/sys/block", device.name).glob(f"{device.name}p*")):
        number = int(part.name.rpartition("p")[2])
        body = bytearray(struct.pack("qqi", 0, 0, number) + bytes(64 + 64 + 4))
        with suppress(OSError), _opened(device) as descriptor:
            _blkpg(descriptor, body)


def _blkpg(descriptor: int, body: bytearray) -> None:
    """One BLKPG call; its argument holds a pointer, which only ctypes can make."""

    class Argument(ctypes.Structure):
        _fields_ = (
            ("operation", ctypes.c_int),
            ("flags", ctypes.c_int),
            ("length", ctypes.c_int),
            ("data", ctypes.c_void_p),
        )

    buffer = (ctypes.c_char * len(body)).from_buffer(body)
    argument = Argument(BLKPG_DEL_PARTITION, 0, len(body), ctypes.addressof(buffer))
    fcntl.ioctl(descriptor, BLKPG, bytes(argument))
