"""Loop devices that a killed build left behind."""

import ctypes
import fcntl
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
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
    """Every loop device in use and the path that its file had when it was attached."""
    for entry in sorted(Path("/sys/block").glob("loop*")):
        device = Path("/dev", entry.name)
        with suppress(OSError):
            descriptor = os.open(device, os.O_RDONLY)
            try:
                info = fcntl.ioctl(descriptor, LOOP_GET_STATUS64, bytes(INFO_SIZE))
            finally:
                os.close(descriptor)
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
    descriptor = os.open(device, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, LOOP_CLR_FD)
    finally:
        os.close(descriptor)


# linux/blkpg.h
BLKPG = 0x1269
BLKPG_DEL_PARTITION = 2


def _drop_partitions(device: Path) -> None:
    """Make the kernel forget partitions that were added to a loop device."""
    for part in sorted(Path("/sys/block", device.name).glob(f"{device.name}p*")):
        number = int(part.name.rpartition("p")[2])
        body = bytearray(struct.pack("qqi", 0, 0, number) + bytes(64 + 64 + 4))
        with suppress(OSError):
            descriptor = os.open(device, os.O_RDONLY)
            try:
                _blkpg(descriptor, body)
            finally:
                os.close(descriptor)


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
