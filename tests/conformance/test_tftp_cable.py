"""The server on one interface of a namespace, clients at the other end of a cable.

namespace "server"                       namespace "client"
wire0 10.9.0.1/24  ====== cable ======   eth0 10.9.0.2/24
wire1 10.9.1.1/24  ====== cable ======   eth1 10.9.1.2/24     (not served)
"""

import random
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pyroute2 import Ethtool

from pxe.site import Observation
from pxe.tftp.content import FileContent
from pxe.tftp.server import TftpServer
from tests.lab import Lab, Namespace, wait_until
from tests.tools import require_root, require_tool

SIZE = 3_000_000


class Cabled:
    """A running server at one end, the other end, and what the server told."""

    def __init__(self, lab: Lab, folder: Path, interface: str | None) -> None:
        self.lab = lab
        self.interface = interface
        self.place = lab.namespace("server")
        self.client = lab.namespace("client")
        for number in range(2):
            lab.cable(self.place, f"wire{number}", self.client, f"eth{number}")
            self.place.address(f"wire{number}", f"10.9.{number}.1/24")
            self.client.address(f"eth{number}", f"10.9.{number}.2/24")
        self.data = random.Random(1).randbytes(SIZE)
        (folder / "file").write_bytes(self.data)
        self.folder = folder
        self.told: list[Observation] = []
        self.server: TftpServer | None = None
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with self.place.inside():
            self.server = TftpServer(
                IPv4Address("10.9.0.1"),
                69,
                self.interface,
                lambda name, peer: FileContent(self.folder / name),
                self.told.append,
            )
            self.server.serve_forever()

    def __enter__(self) -> "Cabled":
        self.thread.start()
        wait_until(lambda: self.server is not None, "the server")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.stop()
        self.thread.join(10)

    def fetch(self, *options: str, address: str = "10.9.0.1", status: int = 0) -> bytes:
        """What atftp gets."""
        words = [word for option in options for word in ("--option", option)]
        target = self.folder / "got"
        target.unlink(missing_ok=True)
        self.client.run(
            [require_tool("atftp"), *words, "--get", "-r", "file", "-l", target, address],
            timeout=60,
            status=status,
        )
        return target.read_bytes()


@pytest.fixture
def cabled(tmp_path: Path) -> Iterator[Cabled]:
    require_root()
    require_tool("atftp")
    with Lab() as lab, Cabled(lab, tmp_path, "wire0") as each:
        yield each


def test_an_interface_may_vanish_and_come_back(tmp_path: Path) -> None:
    """As when a USB adapter is replugged, or a network manager makes its bridge again."""
    require_root()
    require_tool("atftp")
    with Lab() as lab, Cabled(lab, tmp_path, None) as cabled:
        assert cabled.fetch() == cabled.data
        for _ in range(2):
            cabled.place.delete("wire0")
            lab.cable(cabled.place, "wire0", cabled.client, "eth0")
            cabled.place.address("wire0", "10.9.0.1/24")
            cabled.client.address("eth0", "10.9.0.2/24")
            assert cabled.fetch("blksize 1468", "windowsize 4") == cabled.data


@pytest.mark.parametrize("window", [1, 4, 16, 64])
def test_windows_arrive_whole_over_a_cable(cabled: Cabled, window: int) -> None:
    assert cabled.fetch("blksize 1468", f"windowsize {window}") == cabled.data
    wait_until(lambda: bool(cabled.told), "the observation")
    facts = cabled.told[-1].facts
    assert (facts["blksize"], facts["windowsize"]) == (1468, window)


@pytest.mark.parametrize("feature", ["tx-udp-segmentation", "tx-checksum-ip-generic"])
def test_windows_arrive_whole_without_offload(cabled: Cabled, feature: str) -> None:
    def switch_off() -> bool:
        with Ethtool() as ethtool:
            features = ethtool.get_features("wire0")
            features.features[feature].enable = False
            ethtool.set_features("wire0", features)
            return bool(ethtool.get_features("wire0").features[feature].enable)

    assert not cabled.place.call(switch_off)
    assert cabled.fetch("blksize 1468", "windowsize 16") == cabled.data


def test_a_block_fits_a_narrow_link(cabled: Cabled) -> None:
    set_mtu(cabled.place, "wire0", 1400)
    set_mtu(cabled.client, "eth0", 1400)
    assert cabled.fetch("blksize 1468", "windowsize 4") == cabled.data
    wait_until(lambda: bool(cabled.told), "the observation")
    assert cabled.told[-1].facts["blksize"] == 1400 - 32


def test_a_wide_link_does_not_make_blocks_that_firmware_cannot_put_together(
    cabled: Cabled,
) -> None:
    set_mtu(cabled.place, "wire0", 9000)
    set_mtu(cabled.client, "eth0", 9000)
    assert cabled.fetch("blksize 8192") == cabled.data
    wait_until(lambda: bool(cabled.told), "the observation")
    assert cabled.told[-1].facts["blksize"] == 1468


def test_another_interface_is_not_served(cabled: Cabled) -> None:
    """Not even for the address of the serving one."""
    fetch = [require_tool("curl"), "--max-time", "2", "-sS", "-o", "/dev/null"]
    cabled.client.route("10.9.1.1", "10.9.0.1/32")
    cabled.client.run([*fetch, "tftp://10.9.0.1/file"], status=None)
    assert cabled.told == []


def set_mtu(place: Namespace, interface: str, mtu: int) -> None:
    place.link("set", index=place.index(interface), mtu=mtu)
