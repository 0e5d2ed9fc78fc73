"""The tree that TFTP and HTTP both serve: which name gives which bytes to which peer."""

import errno
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import FileIO
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import unquote

from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Loader
from pxe.errors import RenderError
from pxe.neighbours import neighbour
from pxe.script import Machine, render, render_autoexec
from pxe.settings import DhcpMode, Settings
from pxe.site import Site

NAME_LIMIT: Final = 1024
"""Characters of a requested name; TFTP's own limit is 512 bytes for the whole request."""
DECODINGS: Final = 3
"""Times that a name may be percent-encoded; no honest client needs more than two."""
_NO_FILE: Final = "no such file"


@dataclass(frozen=True, slots=True)
class File:
    """A file to serve; the identity is what was resolved, so that a swap is noticed."""

    path: Path
    size: int
    """Bytes."""
    mtime_ns: int
    device: int
    inode: int

    def open(self) -> BinaryIO:
        """Open exactly the resolved file.

        Raises OSError, for which `is_gone` holds when it is gone or is another file by now.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        place = os.open(self.path, flags)
        try:
            found = os.fstat(place)
            same = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if same != (self.device, self.inode, self.size, self.mtime_ns):
                raise FileNotFoundError(f"{self.path} was replaced while it was asked for")
            return FileIO(place)  # without a buffer: who reads it reads much
        except OSError:
            os.close(place)
            raise


def is_gone(error: OSError) -> bool:
    """Whether there is no such file, and not only none that could be had now."""
    known = isinstance(error, FileNotFoundError | NotADirectoryError)
    return known or error.errno in (errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Text:
    """A body made for one peer; it may hold single-use URLs, so it is not shown."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def __repr__(self) -> str:
        return f"Text({len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class NotFound:
    """Nothing to serve; the reason is for the log, never for the peer."""

    reason: str


@dataclass(frozen=True, slots=True)
class ScriptName:
    """A name that stands for a machine's boot script."""

    loader: Loader
    client: MacAddress | None = None
    address: IPv4Address | None = None
    """Both None: the machine is told by the address that asks."""


_MAC = r"(?P<mac>[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5})"
_HEX_ADDRESS = r"(?P<address>[0-9a-f]{8})"
_ETHERNET = "01-"  # the ARP hardware type that pxelinux and GRUB put before a MAC (RFC 1700)
_SCRIPT_NAMES: Final = tuple(
    (loader, re.compile(pattern, re.IGNORECASE))
    for loader, pattern in (
        (Loader.IPXE, rf"ipxe/{_MAC}\.ipxe"),
        # Debian's netboot GRUB asks in grub/, Fedora's beside itself, either also per platform.
        (Loader.GRUB, rf"(?:grub/)?(?:x86_64-efi/)?grub\.cfg-{_ETHERNET}{_MAC}"),
        (Loader.GRUB, rf"(?:grub/)?(?:x86_64-efi/)?grub\.cfg-{_HEX_ADDRESS}"),
        (Loader.GRUB, r"(?:grub/)?(?:x86_64-efi/)?grub\.cfg"),
        (Loader.PXELINUX, rf"pxelinux\.cfg/{_ETHERNET}{_MAC}"),
        (Loader.PXELINUX, rf"pxelinux\.cfg/{_HEX_ADDRESS}"),
        (Loader.PXELINUX, r"pxelinux\.cfg/default"),
    )
)


def normalise(path: str) -> PurePosixPath | None:
    """The name inside the tree that a client means; None when there is no such name.

    Bears what clients send: leading and double slashes, backslashes, `.` and `..`, percent
    encoding (also twice), NUL or 0xFF at the end (`path` decoded with surrogateescape).
    """
    if len(path) > NAME_LIMIT:
        return None
    path = _decoded(path.rstrip("\0\xff\udcff"))
    if not path.isprintable():
        return None
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return PurePosixPath(*parts) if parts else None


def _decoded(path: str) -> str:
    for _ in range(DECODINGS):
        decoded = unquote(path, errors="surrogateescape")
        if decoded == path:
            return path
        path = decoded
    return path if unquote(path) == path else "\0"


def script_name(name: PurePosixPath) -> ScriptName | None:
    """Whose script `name` stands for; None when it is an ordinary file."""
    for loader, pattern in _SCRIPT_NAMES:
        if match := pattern.fullmatch(str(name)):
            words = match.groupdict()
            mac, address = words.get("mac"), words.get("address")
            return ScriptName(
                loader,
                client=MacAddress(bytes.fromhex(re.sub("[:-]", "", mac))) if mac else None,
                address=IPv4Address(int(address, 16)) if address else None,
            )
    return None


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Boot programs, artifacts, the ramdisk and every machine's script, under one tree."""

    programs: Mapping[str, Path]
    artifacts: Path
    ramdisk: Path | None
    site: Site
    settings: Settings
    now: Callable[[], datetime] = _now
    neighbour: Callable[[str, IPv4Address], MacAddress | None] = neighbour
    repositories: Mapping[str, Path] = field(default_factory=dict)
    """Folders of packages by the name below `rpm/`."""

    def resolve(self, path: str, peer: IPv4Address) -> File | Text | NotFound:
        """What to send to `peer` for `path`, as it came off the wire.

        May ask the site's database: event loops call it in a thread. Raises OSError as `common`.
        """
        name = normalise(path)
        if name is None:
            return NotFound("no such name can be in the tree")
        if script := script_name(name):
            return self.scripts([(script, peer)])[0]
        return self.common(name)

    def common(self, name: PurePosixPath) -> File | Text | NotFound:
        """What every peer gets for a name that is no `script_name`; looks at files only.

        Raises OSError when the system could not look.
        """
        if name.name == "autoexec.ipxe":
            return Text(render_autoexec().encode())
        if program := self.programs.get(str(name)):
            return _file(program)
        match name.parts:
            case ("artifacts", *rest) if rest:
                return _below(self.artifacts, PurePosixPath(*rest))
            case ("ramdisk", *rest) if rest and self.ramdisk is not None:
                return _below(self.ramdisk, PurePosixPath(*rest))
            case ("rpm", repository, *rest) if rest and repository in self.repositories:
                return _below(self.repositories[repository], PurePosixPath(*rest))
            case _:
                return NotFound("not in the catalog")

    def scripts(self, asked: Sequence[tuple[ScriptName, IPv4Address]]) -> Sequence[Text | NotFound]:
        """The scripts that peers asked for, in that order; may ask the site's database."""
        clients = [self._client_for(script, peer) for script, peer in asked]
        known = [
            (client, peer)
            for client, (_, peer) in zip(clients, asked, strict=True)
            if isinstance(client, MacAddress)
        ]
        targets = iter(self.site.boot_targets(known, self.settings.http_url))
        return [
            client
            if isinstance(client, NotFound)
            else self._script(script.loader, next(targets), Machine(client, peer))
            for client, (script, peer) in zip(clients, asked, strict=True)
        ]

    def _script(self, loader: Loader, target: BootTarget, machine: Machine) -> Text | NotFound:
        try:
            text = render(loader, target, machine, self.settings)
        except RenderError as error:
            return NotFound(f"no script for {machine.client}: {error}")
        return Text(text.encode())

    def _client_for(self, script: ScriptName, peer: IPv4Address) -> MacAddress | NotFound:
        """Whose script a peer gets."""
        if script.address not in (None, peer):
            return NotFound(f"the script of {script.address} was asked for by {peer}")
        client = self._client_at(peer)
        if client is None:
            return NotFound(f"neither the inventory nor a lease knows {peer}")
        if script.client not in (None, client):
            return NotFound(f"the script of {script.client} was asked for by {peer} of {client}")
        return client

    def _client_at(self, peer: IPv4Address) -> MacAddress | None:
        """Who may use this address now: by the inventory, else by a lease that still runs.

        Beside another DHCP server that one gives the addresses, so only ARP can tell.
        """
        if self.settings.mode is DhcpMode.PROXY:
            return self.neighbour(self.settings.interface, peer)
        if reservation := self.site.reservation_at(peer):
            return reservation.client
        pool, now = self.settings.pool, self.now()
        if pool is None or peer not in pool:
            return None
        for lease in self.site.leases():
            if lease.address == peer and lease.expires > now:
                return lease.client
        return None


def _below(folder: Path, name: PurePosixPath) -> File | NotFound:
    if any(part.startswith(".") for part in name.parts):
        return NotFound("hidden files are not served")
    found = _real(folder)
    return _file(f"{found[0]}/{name}", found[0]) if found else NotFound(_NO_FILE)


def _file(path: str | Path, root: str = "/") -> File | NotFound:
    if (there := _real(path)) is None:
        return NotFound(_NO_FILE)
    real, found = there
    if not real.startswith(root.rstrip("/") + "/"):
        return NotFound("a symbolic link leads out of the folder")
    if not stat.S_ISREG(found.st_mode):
        return NotFound("not a regular file")
    if not os.access(real, os.R_OK):
        return NotFound("the server may not read it")
    return File(Path(real), found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)


def _real(path: str | Path) -> tuple[str, os.stat_result] | None:
    """Where a path leads when every symbolic link is followed, and what is there, if anything is.

    The kernel knows, and tells it faster than we could look at each part of the path.
    Raises OSError.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # which opens nothing (open(2))
    except OSError as error:
        if is_gone(error):
            return None
        raise
    try:
        return os.readlink(f"/proc/self/fd/{place}"), os.fstat(place)  # noqa: PTH115  # time
    finally:
        os.close(place)
