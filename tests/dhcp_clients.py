"""Real DHCP clients in a namespace, none of which touches the machine around it.

Each is a `Client`: started, it asks for an address for `eth0` and puts it there, so that the
kernel's own list says what it got. Files that they insist on lie in private folders, bound over
the machine's in a mount namespace of the client's own.
"""

import shlex
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from pxe.addresses import MacAddress
from pxe.dhcp import options as o
from pxe.dhcp.message import BOOT_REQUEST, Message, decode
from pxe.dhcp.options import MessageType
from pxe.dhcp.probe import CLIENT_PORT, ETH_P_IP, frame_of, reply_in
from pxe.errors import DecodeError
from tests.lab import Namespace, Process
from tests.tools import require_tool

BOOT_SERVICE_PORT = 4011

HOOK = """#!/bin/sh
# Called by udhcpc with its event as the argument, by dhclient with `reason` in the environment.
event=${1:-$reason}
{ echo "event=$event"; env; } >> "$0.log"
case $event in
    bound|renew) busybox ifconfig "$interface" "$ip" netmask "$subnet" ;;
    BOUND|RENEW|REBIND|REBOOT)
        busybox ifconfig "$interface" "$new_ip_address" netmask "$new_subnet_mask" ;;
    deconfig|PREINIT|EXPIRE|FAIL|RELEASE|STOP) busybox ifconfig "$interface" 0.0.0.0 up ;;
esac
exit 0
"""


def write_hook(machine: Namespace) -> Path:
    """The script that puts an address where udhcpc and dhclient say."""
    require_tool("busybox", package="busybox-static")
    hook = machine.folder / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    return hook


def hook_told(machine: Namespace) -> dict[str, str]:
    """What the client last told its script."""
    log = machine.folder / "hook.log"
    text = log.read_text() if log.exists() else ""
    last = text.rpartition("event=")[2].splitlines()
    return dict(line.split("=", 1) for line in last[1:] if "=" in line)


def private(machine: Namespace, *folders: str) -> Mapping[str | Path, str | Path]:
    """An empty folder of the machine's own over each of these of the system."""
    binds: dict[str | Path, str | Path] = {}
    for folder in folders:
        own = machine.folder / folder.strip("/").replace("/", "-")
        own.mkdir(exist_ok=True)
        own.chmod(0o777)
        binds[folder] = own
    return binds


def udhcpc(machine: Namespace, *arguments: str) -> Process:
    """Busybox's client, as in the Debian installer and in small ramdisks."""
    program = require_tool("udhcpc", package="udhcpc")
    return machine.start(
        [program, "-f", "-i", "eth0", "-s", write_hook(machine), "-t", "10", "-T", "1", *arguments]
    )


def dhclient(machine: Namespace, *arguments: str) -> Process:
    """ISC's client, as in dracut's older network module and in cloud images."""
    program = require_tool("dhclient", package="isc-dhcp-client")
    configuration = machine.folder / "dhclient.conf"
    configuration.write_text("timeout 20;\nretry 1;\ninitial-interval 1;\n")
    leases = machine.folder / "dhclient.leases"
    leases.touch()
    return machine.start(
        [
            program, "-4", "-d", "-v", "-cf", configuration, "-lf", leases,
            "-pf", machine.folder / "dhclient.pid", "-sf", write_hook(machine), *arguments, "eth0",
        ]
    )  # fmt: skip


def dhcpcd(machine: Namespace, *arguments: str) -> Process:
    """Roy Marples' client, as in Raspberry Pi OS and, from Debian 13 on, by default."""
    program = require_tool("dhcpcd", package="dhcpcd-base")
    configuration = machine.folder / "dhcpcd.conf"
    configuration.write_text("option subnet_mask, routers, host_name\nnoipv4ll\nnoipv6\nnoarp\n")
    return machine.start(
        [
            program, "-4", "-B", "-d", "-f", configuration, "--script", "/bin/true",
            *arguments, "eth0",
        ],
        binds=private(machine, "/run", "/var/lib/dhcpcd"),
    )  # fmt: skip


def networkd(machine: Namespace) -> Process:
    """systemd-networkd without systemd: a read-only /sys makes it do without udev."""
    program = require_tool("/lib/systemd/systemd-networkd", package="systemd")
    unshare = require_tool("unshare", package="util-linux")
    run = machine.folder / "run-systemd"
    for folder in ("network", "netif/links", "netif/leases"):
        (run / folder).mkdir(parents=True)
    (run / "network" / "10-eth0.network").write_text(
        "[Match]\nName=eth0\n"
        "[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        "[DHCPv4]\nSendRelease=yes\nUseHostname=no\nUseDNS=no\n"
    )
    for path in (run, *run.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    mounts = " && ".join(
        (
            "mount -t sysfs -o ro sysfs /sys",
            "mount -t tmpfs none /run",
            "mkdir /run/systemd",
            f"mount --bind {shlex.quote(str(run))} /run/systemd",
            f"exec {program}",
        )
    )
    return machine.start(
        [unshare, "--mount", "--uts", "--propagation", "private", "sh", "-c", mounts],
        env={"SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console"},
        log="networkd",
    )


@dataclass(frozen=True, slots=True)
class Client:
    """How to start one, and what it writes when it has heard a refusal or lost its lease."""

    start: Callable[[Namespace], Process]
    sends_broadcast_flag: bool = False


CLIENTS: Mapping[str, Client] = {
    "udhcpc": Client(udhcpc),
    "udhcpc-broadcast": Client(lambda machine: udhcpc(machine, "-B"), sends_broadcast_flag=True),
    "dhclient": Client(dhclient),
    "dhcpcd": Client(dhcpcd),
    "networkd": Client(networkd),
}


class PxeClient:
    """Firmware that boots from the network, made of frames: nothing real waits for all offers."""

    def __init__(self, machine: Namespace, architecture: int) -> None:
        self._machine = machine
        self.mac = MacAddress.parse(machine.mac("eth0"))
        self._architecture = architecture
        self._wire = machine.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
        self._wire.bind(("eth0", ETH_P_IP))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def message(self, kind: MessageType, **facts: Any) -> Message:
        """What it would send, with these fields or (as `options`) further options."""
        vendor = f"PXEClient:Arch:{self._architecture:05}:UNDI:003000".encode()
        options = {
            o.MESSAGE_TYPE: bytes((kind,)),
            o.VENDOR_CLASS: vendor,
            o.ARCHITECTURE: self._architecture.to_bytes(2),
            o.NETWORK_INTERFACE: bytes((1, 3, 0)),
            o.MACHINE_IDENTIFIER: bytes(17),
            o.PARAMETER_LIST: bytes((1, 3, 6, 12, 13, 43, 54, 60, 66, 67, 97)),
            **facts.pop("options", {}),
        }
        return Message(BOOT_REQUEST, 0x1234, self.mac, options=options, **facts)

    def broadcast(self, message: Message, seconds: float = 1.0) -> dict[IPv4Address, Message]:
        """Send it, and return all replies of a while by server."""
        self._wire.send(frame_of(message.encode(), self.mac))
        replies: dict[IPv4Address, Message] = {}
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._wire.settimeout(left)
            with suppress(TimeoutError, DecodeError):
                if found := reply_in(self._wire.recv(2048)):
                    reply = decode(found[2])
                    replies[reply.server or found[1]] = reply
        return replies

    def ask_boot_server(self, message: Message, server: IPv4Address) -> Message:
        """Send it to port 4011 from the address that it has, and return the reply."""
        asking = self._machine.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with asking:
            asking.bind((str(message.ciaddr), CLIENT_PORT))
            asking.settimeout(5)
            asking.sendto(message.encode(), (str(server), BOOT_SERVICE_PORT))
            return decode(asking.recv(2048))
