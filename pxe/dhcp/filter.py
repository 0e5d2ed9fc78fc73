"""Lets the kernel drop what the probe does not look for: an interface may be busy with else."""

import ctypes
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Final

SO_ATTACH_FILTER: Final = 26  # socket(7)

# Classic BPF, linux/bpf_common.h
HALF: Final = 0x28
BYTE: Final = 0x30
HALF_AFTER_IP: Final = 0x48
"""At an offset from X, which `IP_HEADER` sets."""
IP_HEADER: Final = (0xB1, 0, 0, 14)
"""X = length of the IP header of an Ethernet frame."""
EQUAL: Final = 0x15
ANY_BIT: Final = 0x45
ACCEPT: Final = (0x06, 0, 0, 0xFFFF)
DROP: Final = (0x06, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so, or (with `not_`) must not be so."""

    width: int
    offset: int
    test: int
    value: int
    not_: bool = False


Step = Check | tuple[int, int, int, int]


def program(steps: Sequence[Step]) -> bytes:
    """Classic BPF that drops at the first check that fails, and accepts at the end."""
    sizes = [2 if isinstance(step, Check) else 1 for step in steps]
    code = []
    for number, step in enumerate(steps):
        if not isinstance(step, Check):
            code.append(step)
            continue
        to_drop = sum(sizes[number + 1 :]) + 1
        jumps = (to_drop, 0) if step.not_ else (0, to_drop)
        code += [(step.width, 0, 0, step.offset), (step.test, *jumps, step.value)]
    return b"".join(pack("=HBBI", *each) for each in (*code, ACCEPT, DROP))


REPLIES: Final = program(
    (
        Check(HALF, 12, EQUAL, 0x0800),  # EtherType: IPv4
        Check(BYTE, 23, EQUAL, socket.IPPROTO_UDP),
        Check(HALF, 20, ANY_BIT, 0x1FFF, not_=True),  # fragment offset
        IP_HEADER,
        Check(HALF_AFTER_IP, 16, EQUAL, 68),  # UDP destination port
    )
)
"""For a packet socket on Ethernet: what goes to DHCP clients."""


def attach(to: socket.socket, code: bytes) -> None:
    """Have the kernel show the socket only what the program accepts; needs no privilege."""
    program = ctypes.create_string_buffer(code, len(code))
    to.setsockopt(
        socket.SOL_SOCKET,
        SO_ATTACH_FILTER,
        pack("HP", len(code) // 8, ctypes.addressof(program)),
    )
