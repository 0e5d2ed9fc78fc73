"""Feeds mutated datagrams to the DHCP codec: `python tests/fuzz/dhcp.py -runs=1000000`.

Needs atheris from PyPI. Ends with the input that raised anything but DecodeError, or that did not
survive being decoded, encoded and decoded again.
"""

import sys

import atheris

with atheris.instrument_imports():
    from pxe.dhcp.message import LARGEST, decode
    from pxe.errors import DecodeError


def one_datagram(data: bytes) -> None:
    try:
        message = decode(data)
    except DecodeError:
        return
    if decode(message.encode(2 * LARGEST)) != message:
        raise AssertionError(message)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_datagram)
    atheris.Fuzz()
