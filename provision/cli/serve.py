"""`rackseed serve`: the boot server for one provisioning network."""

import asyncio
import gc
import logging
import os
import signal
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer

from kickstarts.errors import KickstartError
from provision.certificate import own_certificate, pin
from provision.cli import report
from provision.cli.logs import log_at
from provision.cli.options import DEFAULT_INVENTORY, InventoryOption, StoreOption
from provision.deploy import SecretsServer
from provision.errors import BadInput, ProvisionError
from provision.interface import server_address
from provision.inventory import views
from provision.inventory.load import load
from provision.inventory.model import Inventory, Role
from provision.inventory.problems import InventoryInvalid
from provision.site import InventorySite
from provision.store import Store, StoreError
from provision.verify import verify_programs
from pxe import httpboot
from pxe.dhcp.probe import probe, refuse_other_servers
from pxe.errors import MissingProgram
from pxe.link import serving_link
from pxe.programs import find_programs
from pxe.ramdisk.build import build, find_busybox
from pxe.ramdisk.kernel import find_kernel
from pxe.serve import BootServer, Certificate, planes
from pxe.settings import Settings
from pxe.supervise import supervise

log = logging.getLogger(__name__)

HTTP_WORKERS = min(2, os.cpu_count() or 1)
"""One process fills one core when hundreds of machines boot; two fill most wires."""

CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--certificate", metavar="PEM", help="Serve HTTPS too, with this certificate chain."
    ),
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="PEM", help="The certificate's private key.")
]

CAPABILITIES: Mapping[str, int] = {
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
}
"""What serving takes, with its bit (linux/capability.h): ports, neighbour entries, the probe."""


class NotPermitted(ProvisionError):
    """The process lacks a privilege; start it with more."""


def serve(
    inventory: InventoryOption = DEFAULT_INVENTORY,
    store: StoreOption = None,
    tftp_workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Processes that serve TFTP.")
    ] = 1,
    http_workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Processes that serve HTTP.")
    ] = HTTP_WORKERS,
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Another boot server of ours on this segment."),
    ] = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    https_port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Where HTTPS listens.")
    ] = 443,
    advertise: Annotated[
        bool, typer.Option(help="Send IPv6 router advertisements that cut firmware's waits.")
    ] = True,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="RACKSEED_CACHE", help="Where the ramdisk is built."),
    ] = None,
) -> int:
    """Serve DHCP, TFTP and HTTP on the provisioning network, until Ctrl-C or SIGTERM.

    Secrets of hosts are handed out by HTTPS alone: with the given certificate or one of our own,
    whose key their answers name.

    Looks for another DHCP server first and refuses to start beside one. SIGHUP reads the
    inventory again (hosts and roles; with another `network`, `artifacts` or `packages`
    it is refused). Another certificate takes a new start.

    Example:
      rackseed serve -i rack.yaml
      rackseed -v serve --tftp-workers 4 --certificate boot.pem --key boot.key
    """
    expected = [address_of(text) for text in beside or ()]
    loaded = load(inventory)
    url = store or loaded.store
    https = https_of(certificate, key, https_port, loaded.network.http_port)
    require_privileges(Path("/proc/self/status").read_text(encoding="ascii"))
    settings = views.settings(loaded, server_address(loaded))
    if problems := verify_programs(loaded):
        raise InventoryInvalid(problems)
    if https is None and hands_out_secrets(loaded):
        own = own_certificate((cache or default_cache()) / "https", settings.address)
        https = https_of(*own, https_port, loaded.network.http_port)
    ramdisk = build_ramdisk(cache or default_cache())
    with Store(url):
        pass  # made, or found unusable, before anything listens
    serving_link(settings.interface, settings.address, settings.subnet)
    found = asyncio.run(probe(settings.interface, expected))
    refuse_other_servers(found, settings.mode)
    source = Source(inventory.resolve(), url, loaded, secrets_server(settings, https))
    server = BootServer(
        settings=settings,
        open_site=partial(open_site, source),
        programs=boot_programs(settings, cache or default_cache()),
        artifacts=loaded.artifacts,
        ramdisk=ramdisk,
        certificate=https,
        advertise=advertise,
        repositories=dict(views.repositories(loaded)),  # a read-only mapping cannot be pickled
    )
    line = (
        f"serving {settings.address} on {settings.interface}: "
        f"DHCP {settings.mode.value}, TFTP, {settings.http_url}"
    )
    if source.secrets:
        line += f", {source.secrets.base_url}"
    supervise(
        planes(server, tftp_workers=tftp_workers, http_workers=http_workers),
        on_ready=lambda: report.print_line(line, at_once=True),
        prepare=partial(log_like, logging.getLogger().level),
        on_reload=partial(reload, source),
    )
    return report.ExitStatus.DONE


def require_privileges(status: str) -> None:
    """That we may do what serving takes, by /proc/self/status (proc(5)). Raises NotPermitted."""
    effective = next(
        (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0
    )
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        error = NotPermitted(f"serving needs {', '.join(missing)}, which this process has not")
        error.add_note("run it as root, for example with sudo")
        raise error


def https_of(
    certificate: Path | None, key: Path | None, port: int, http_port: int
) -> Certificate | None:
    """The options about HTTPS as one value. Raises BadInput when they cannot be served."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise BadInput("--certificate and --key go together, expected both or neither")
    if port == http_port:
        raise BadInput(f"--https-port: {port} is the port of plain HTTP, expected another")
    read = Certificate(pem("--certificate", certificate), pem("--key", key), port)
    check_certificate(read, certificate, key)
    return read


def hands_out_secrets(inventory: Inventory) -> bool:
    """Whether a host of the inventory fetches secrets."""
    roles = {host.role.name: host.role for host in inventory.hosts.values()}
    return any(map(_has_secrets, roles.values()))


def _has_secrets(role: Role) -> bool:
    with suppress(KickstartError):  # unknown; check tells of it, and its hosts get no answer
        return bool(views.secrets_of(role))
    return False


def secrets_server(settings: Settings, https: Certificate | None) -> SecretsServer | None:
    """Where we hand out secrets; None: nowhere. Raises BadInput."""
    if https is None:
        return None
    return SecretsServer(f"https://{settings.address}:{https.port}", pin(https.chain))


def pem(option: str, path: Path) -> bytes:
    """The contents of a file. Raises BadInput."""
    try:
        return path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadInput(f"{option}: {path}: {why}, expected a PEM file") from None


def check_certificate(read: Certificate, certificate: Path, key: Path) -> None:
    """That what was read of these files is a certificate chain and its key. Raises BadInput."""

    def refuse() -> str:
        locked = BadInput(f"--key: {key} is encrypted, expected a key without a password")
        locked.add_note(f"openssl pkey -in {key} -out plain.key, kept with mode 0600")
        raise locked

    try:
        with read.files() as (chain, private):
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, private, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadInput(f"--key: {key} is not the key of {certificate}") from None
        message = f"--certificate, --key: {certificate} and {key} are no certificate and its key"
        raise BadInput(f"{message}, expected PEM") from None


def address_of(text: str) -> IPv4Address:
    """An address given on the command line. Raises BadInput."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise BadInput(
            f"--beside: {text!r} is not an IPv4 address, expected one such as 10.20.0.4"
        ) from None


def default_cache() -> Path:
    """Where what can be built again is kept (file-hierarchy(7); XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/cache/rackseed")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rackseed"


def build_ramdisk(cache: Path) -> Path:
    """Build the ramdisk where it is not there yet; returns its folder."""
    folder = cache / "ramdisk"
    made = build(find_kernel(), find_busybox(), folder)
    log.info("ramdisk ready kernel=%s bytes=%s", made.version, made.initrd_size)
    return folder


def boot_programs(settings: Settings, cache: Path) -> Mapping[str, Path]:
    """The programs that are installed, and the RAM disk that can be made of them."""
    found = dict(find_programs())
    if "shimx64.efi" in found and "grubx64.efi" in found:
        try:
            found[httpboot.NAME] = httpboot.build(
                found["shimx64.efi"],
                found["grubx64.efi"],
                settings.address,
                settings.http_port,
                cache / f"httpboot-{settings.address}",
            )
        except MissingProgram as error:
            log.warning("no HTTP Boot under Secure Boot: %s", error)
    return found


@dataclass(slots=True)
class Source:
    """What each process begins with."""

    path: Path
    """Of the inventory; read again on SIGHUP alone, so that all planes have the same."""
    store: str
    inventory: Inventory
    """The last good one: a plane that starts again needs it when the file is broken."""
    secrets: SecretsServer | None = None


def reload(source: Source) -> bool:
    """Read the inventory again; whether `source` has another now. Errors are logged."""
    try:
        again = load(source.path)
        refuse_other_start(source.inventory, again)
        if source.secrets is None and hands_out_secrets(again):
            what = "a host fetches secrets, by HTTPS alone"
            raise BadInput(f"{again.path}: {what}, which needs a new start of serve")
    except BadInput as error:
        log.error("inventory kept as it was: %s", error)
        return False
    source.inventory = again
    return True


def refuse_other_start(before: Inventory, after: Inventory) -> None:
    """That all is the same which is fixed once planes run. Raises BadInput."""
    same = {
        "network": replace(before.network, place=None) == replace(after.network, place=None),
        "artifacts": before.artifacts.resolve() == after.artifacts.resolve(),
        "packages of a system": views.repositories(before) == views.repositories(after),
        "store": before.store == after.store,
    }
    for section, is_same in same.items():
        if not is_same:
            raise BadInput(f"{after.path}: {section} changed, which needs a new start of serve")


@contextmanager
def open_site(source: Source, plane: str) -> Iterator[InventorySite]:
    """The inventory and the store for one process; SIGHUP reads the inventory again."""
    with Store(source.store) as store:
        site = InventorySite(source.inventory, store, secrets=source.secrets)

        def again(*_: object) -> None:
            if not reload(source):
                return
            try:
                site.reload(source.inventory)
                log.warning("inventory read again path=%s plane=%s", source.path, plane)
            except StoreError as error:
                log.error("inventory not taken over plane=%s: %s", plane, error)

        signal.signal(signal.SIGHUP, again)
        if plane == "http":
            Thread(target=site.prepare, name="prepare", daemon=True).start()
        gc.collect()
        gc.freeze()  # what is here now stays: looking through it again would stop the server
        yield site


def log_like(level: int) -> None:
    """Log in a fresh process as its parent does."""
    log_at(level)
    logging.getLogger("pyroute2").setLevel(logging.WARNING)  # it tells every message in full
