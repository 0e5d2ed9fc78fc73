"""Trouble on purpose while a rack boots: a server that dies, a segment full of garbage."""

import logging
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from provision.run import Child, start
from provision.simulation.phases import Phase
from provision.simulation.server import Server, own_environment
from pxe.addresses import MacAddress

log = logging.getLogger(__name__)


class Fault(Enum):
    """What `--fault` takes."""

    SERVER_KILL = "server-kill"
    """kill -9 of the server, several times in the middle of transfers, and a new start."""
    GARBAGE = "garbage"
    """Datagrams of random bytes, and of one byte, to the server's ports all the time."""


KILL_AT = (Phase.PROGRAM, Phase.KERNEL, Phase.ANSWER)
"""When the first machine has got here, the server is killed: the next fetch has just begun."""
NOISE_PORT = "noise0"
NOISE_ADDRESS = MacAddress.parse("02:00:00:00:00:fe")
PORTS = (67, 69, 4011)
"""DHCP, TFTP and the boot server's port of PXE."""
LARGEST = 1472
"""Bytes of a garbage datagram at most: what an Ethernet frame holds."""


class Faults:
    """What is to go wrong in one rehearsal."""

    def __init__(
        self, wanted: Sequence[Fault], sent: Callable[[], tuple[int, int]] = lambda: (0, 0)
    ) -> None:
        """`sent` counts the garbage so far, in frames and in octets."""
        self.wanted = frozenset(wanted)
        self._sent = sent
        self._began = time.monotonic()
        self._kills = list(KILL_AT) if Fault.SERVER_KILL in self.wanted else []

    def inflict(self, furthest: Phase, server: Server) -> None:
        """Kill and restart the server when a machine has come far enough."""
        if self._kills and furthest >= self._kills[0]:
            while self._kills and furthest >= self._kills[0]:
                self._kills.pop(0)
            log.warning("killing the server because a machine is at phase=%s", furthest.words)
            server.kill()
            server.start()

    def garbage(self) -> Mapping[str, int] | None:
        """How much garbage went into the segment, and how fast; None when it is not wanted."""
        if Fault.GARBAGE not in self.wanted:
            return None
        (frames, octets), seconds = self._sent(), max(time.monotonic() - self._began, 1)
        return {
            "frames": frames,
            "frames_per_second": round(frames / seconds),
            "megabits_per_second": round(octets * 8 / seconds / 1e6),
        }


def garbage_frames(
    server: IPv4Address,
    server_mac: MacAddress,
    subnet: IPv4Network,
    chance: random.Random,
    *,
    full: bool = False,
) -> Iterator[bytes]:
    """Ethernet frames with UDP datagrams that no server expects; without end.

    `full` ones are as large as frames can be: they fill a wire. The others are of all sizes.
    """
    while True:
        size = chance.choice((0, 1, 1, chance.randrange(2, 64), chance.randrange(64, LARGEST)))
        if full:
            size = LARGEST
        payload = bytearray(chance.randbytes(size))
        if size > 240 and chance.random() < 0.5:
            # A fixed part that looks like DHCP, so that the options are looked at too.
            payload[:4] = b"\x01\x01\x06\x00"
            payload[236:240] = b"\x63\x82\x53\x63"
        if size > 4 and chance.random() < 0.3:
            payload[:2] = chance.choice((b"\0\1", b"\0\2", b"\0\3", b"\0\4", b"\0\5", b"\0\6"))
        source = subnet[chance.randrange(1, subnet.num_addresses - 1)]
        to_all = chance.random() < 0.01  # more would slow down every machine's own card
        yield ethernet(
            bytes(payload),
            source=source,
            target=IPv4Address("255.255.255.255") if to_all else server,
            target_mac=MacAddress(b"\xff" * 6) if to_all else server_mac,
            port=chance.choice(PORTS),
        )


def ethernet(
    payload: bytes, *, source: IPv4Address, target: IPv4Address, target_mac: MacAddress, port: int
) -> bytes:
    """One UDP datagram (RFC 768) over IPv4 (RFC 791) in an Ethernet frame."""
    udp = struct.pack("!HHHH", 1024 + len(payload), port, 8 + len(payload), 0) + payload
    fields = (0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source.packed, target.packed)
    header = struct.pack("!BBHHHBBH4s4s", *fields)
    checked = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return target_mac.octets + NOISE_ADDRESS.octets + b"\x08\x00" + checked + udp


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


@contextmanager
def garbage(server: IPv4Address, interface: str, subnet: IPv4Network) -> Iterator[Child]:
    """Send garbage from a process of its own until the end of the `with`."""
    words = ["-m", "provision.simulation.noise", interface, str(server), str(subnet)]
    with start([sys.executable, *words], env=own_environment()) as child:
        yield child
