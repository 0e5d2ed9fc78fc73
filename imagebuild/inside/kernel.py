"""The kernel as reader of a file system: a mount that no path leads to.

The new mount calls (Linux 5.2) give a mount as an open file. It is attached nowhere, so no
namespace, no folder and no clean-up are needed: when the file is closed, or the process dies,
mount and loop device are gone.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.folder import Folder
from imagebuild.inside.tree import FileSystem

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""System call numbers, the same on every architecture since 5.2."""
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
"""FSCONFIG_* of linux/mount.h."""
_ATTRIBUTES = 1 | 2 | 4 | 8
"""MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC of linux/mount.h."""
_LOOP_CONFIGURE = 0x4C0A
_LOOP_GET_FREE = 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
"""LO_FLAGS_* of linux/loop.h."""
_LOOP_CONFIG = struct.Struct("=II QQQQQIIII 64s64s32s QQ 8Q")
"""struct loop_config with its loop_info64."""
_TRIES = 8
_UNTOUCHED = {
    "ext4": ("noload",),
    "xfs": ("norecovery", "nouuid"),
    "btrfs": ("rescue=nologreplay", "subvolid=5"),
}
"""So that a read-only mount does not replay a journal; of btrfs all that there is."""


@contextmanager
def open_with_kernel(file: Path, type_: str, start: int, size: int) -> Iterator[FileSystem]:
    """A file system that begins `start` bytes into a raw file. Raises Unreadable; needs root."""
    with ExitStack() as stack:
        try:
            loop, device = _loop(file, start, size)
            stack.callback(os.close, loop)
            mount = _mount(type_, device)
        except OSError as error:
            reason = f"the kernel does not mount {type_}: {error.strerror}"
            raise Unreadable(reason) from error
        stack.callback(os.close, mount)
        yield Folder(mount)


def _loop(file: Path, start: int, size: int) -> tuple[int, str]:
    """An open loop device, which goes when the last file on it is closed."""
    backing = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for attempt in range(_TRIES):
            device = f"/dev/loop{_free_loop()}"
            loop = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, _LOOP_CONFIGURE, _loop_config(backing, start, size))
            except OSError:
                os.close(loop)
                if attempt == _TRIES - 1:  # somebody else is always faster
                    raise
            else:
                return loop, device
    finally:
        os.close(backing)
    raise AssertionError("not reached")


def _free_loop() -> int:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(control, _LOOP_GET_FREE)
    finally:
        os.close(control)


def _loop_config(backing: int, start: int, size: int) -> bytes:
    flags = _READ_ONLY | _AUTOCLEAR
    info = (0, 0, 0, start, size, 0, 0, 0, flags, b"", b"", b"", 0, 0)
    return _LOOP_CONFIG.pack(backing, 0, *info, *[0] * 8)


def _mount(type_: str, device: str) -> int:
    context = _call(_FSOPEN, type_.encode(), _CLOEXEC)
    try:
        _call(_FSCONFIG, context, _SET_STRING, b"source", device.encode(), 0)
        _call(_FSCONFIG, context, _SET_FLAG, b"ro", None, 0)
        for option in _UNTOUCHED.get(type_, ()):
            key, _, value = option.partition("=")
            how = _SET_STRING if value else _SET_FLAG
            _call(_FSCONFIG, context, how, key.encode(), value.encode() or None, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, _ATTRIBUTES)
    finally:
        os.close(context)


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: int | bytes | None) -> int:
    result: int = _LIBC.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
