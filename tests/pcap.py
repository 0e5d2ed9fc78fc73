"""UDP payloads of a capture file, for tests that read what real firmware sent."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CAPTURES = Path(__file__).parent / "captures"

GLOBAL_HEADER = 24
MAGICS = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}


@dataclass(frozen=True)
class Datagram:
    """One UDP datagram over IPv4."""

    number: int
    """Of its frame, from 1, as in Wireshark."""
    source_port: int
    destination_port: int
    payload: bytes
    cut: bool
    """The capture kept only the beginning of the frame (many of ours: 400 octets)."""


def read_pcap(path: Path) -> Iterator[Datagram]:
    """The UDP datagrams of a classic pcap file of Ethernet frames."""
    data = path.read_bytes()
    order = MAGICS[data[:4]]
    at = GLOBAL_HEADER
    number = 0
    while at < len(data):
        _, _, kept, length = struct.unpack_from(f"{order}IIII", data, at)
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        number += 1
        if frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        udp = 14 + (frame[14] & 15) * 4
        source, destination, size = struct.unpack_from("!HHH", frame, udp)
        payload = frame[udp + 8 : udp + size]
        yield Datagram(number, source, destination, payload, cut=kept < length)
