"""What a rehearsal is made of before anything runs: inventory, addresses, limits, garbage."""

import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from pathlib import Path

import pytest

from provision.errors import ProgramFailed
from provision.inventory.load import load
from provision.inventory.model import Administrator, Inventory
from provision.simulation import accelerator, network, rehearsed, standing
from provision.simulation.errors import NoWorld
from provision.simulation.faults import KILL_AT, PORTS, Fault, Faults, garbage_frames
from provision.simulation.guests import Accelerator
from provision.simulation.phases import Phase
from provision.simulation.rehearsal import readable
from pxe.addresses import MacAddress

RACK = """
network: {{interface: br-prov, subnet: {subnet}, gateway: 10.9.0.1, dns: [10.9.0.2], dhcp: {dhcp}}}
cloud: {{domain: cloud.example.org}}
store: sqlite:///{folder}/real.db
roles:
  compute: {{install: image, image: real.img, disk: "00123"}}
racks:
  "07":
    a1: {{mac: "52:54:00:12:34:56", address: 10.9.0.3, role: compute, firmware: uefi}}
    a2: {{mac: 52:54:00:aa:00:02, address: 10.9.0.5, role: compute, loader: pxelinux}}
    a3: {{mac: 52:54:00:aa:00:03, address: 10.9.0.6, role: compute, firmware: uefi-http}}
    a4:
      {{mac: 52:54:00:aa:00:04, address: 10.9.0.7, role: compute, firmware: uefi, secure_boot: on}}
"""


def rack(folder: Path, subnet: str = "10.9.0.0/24", dhcp: str = "authoritative") -> Inventory:
    path = folder / "rack.yaml"
    path.write_text(
        RACK.format(folder=folder, subnet=subnet, dhcp=dhcp).replace(": on}", ": true}")
    )
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts/real.img").touch()
    return load(path)


def test_roles_that_write_their_own_image_keep_it_and_the_people(tmp_path: Path) -> None:
    ada = Administrator("ada", ("ssh-ed25519 AAAA ada",))
    real = replace(rack(tmp_path), administrators=(ada,))
    path = tmp_path / "rehearsed.yaml"
    server = network.server_address(real)
    written = rehearsed.document(real, server, tmp_path / "artifacts", "sqlite:///x", {"a1": 4096})
    rehearsed.write(written, path)
    copy = load(path)
    assert str(copy.hosts["a1"].role.image) == "real.img"
    assert copy.administrators == (ada,)


@pytest.mark.parametrize("dhcp", ["authoritative", "proxy"])
def test_the_rehearsed_inventory_differs_only_in_what_is_installed(
    tmp_path: Path, dhcp: str
) -> None:
    real = rack(tmp_path, dhcp=dhcp)
    server = network.server_address(real)
    path = tmp_path / "rehearsed.yaml"
    store = f"sqlite:///{tmp_path}/rehearsal.db"
    rehearsed.write(rehearsed.document(real, server, tmp_path / "artifacts", store), path)
    copy = load(path)
    assert copy.store == store
    assert copy.network.server == server
    assert copy.network.dhcp is real.network.dhcp
    assert list(copy.hosts) == list(real.hosts)
    for name, host in real.hosts.items():
        same = copy.hosts[name]
        for fact in ("rack", "mac", "address", "firmware", "secure_boot", "loader"):
            assert getattr(same, fact) == getattr(host, fact)
        assert same.role.disk == host.role.disk == "00123"
        assert str(same.role.image) == rehearsed.IMAGE_NAME


def test_the_server_takes_the_first_address_that_nobody_has(tmp_path: Path) -> None:
    assert network.server_address(rack(tmp_path)) == IPv4Address("10.9.0.4")


def test_a_full_subnet_is_told(tmp_path: Path) -> None:
    free = rack(tmp_path)
    place = replace(free.network, subnet=IPv4Network("10.9.0.0/30"))  # two addresses, both taken
    with pytest.raises(NoWorld, match=r"no address of 10\.9\.0\.0/30 is left"):
        network.server_address(replace(free, network=place))


def test_the_standing_server_promises_what_the_inventory_promises(tmp_path: Path) -> None:
    proxied = rack(tmp_path, dhcp="proxy")
    argv = standing.dnsmasq_argv(Path("/usr/sbin/dnsmasq"), proxied, tmp_path)
    assert "--dhcp-host=52:54:00:12:34:56,10.9.0.3" in argv
    assert not any("boot" in word or "tftp" in word for word in argv)
    assert standing.standing_address(proxied) == IPv4Address("10.9.0.1")


@pytest.mark.parametrize(
    ("kind", "cores", "memory", "expected"),
    [
        (Accelerator.TCG, 2, 24_000, 2),
        (Accelerator.TCG, 1, 24_000, 2),
        (Accelerator.TCG, 64, 8_000, 6),
        (Accelerator.TCG, 2, 500, 1),
        (Accelerator.KVM, 2, 24_000, 18),
        (Accelerator.KVM, 64, 512_000, 400),
    ],
)
def test_machines_at_once_fit_the_cores_and_the_memory(
    kind: Accelerator, cores: int, memory: int, expected: int
) -> None:
    assert accelerator.guests_at_once(kind, cores, memory) == expected


def killed(argv: Sequence[str], limit: float) -> str:
    raise ProgramFailed(argv, 137, "killed because it took longer")


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda argv, limit: "\r\n[    0.0] Linux version 6.1", Accelerator.KVM),
        (lambda argv, limit: "", Accelerator.TCG),
        (killed, Accelerator.TCG),
    ],
)
def test_kvm_is_used_only_when_a_kernel_spoke(
    run: accelerator.Run, expected: Accelerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "KVM", device)
    assert accelerator.choose(Path("qemu"), Path("vmlinuz"), run) is expected


def test_without_the_device_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "KVM", Path("/no/such/device"))
    assert accelerator.choose(Path("qemu"), Path("vmlinuz"), pytest.fail) is Accelerator.TCG


def test_garbage_reaches_the_server_s_ports_in_frames_that_a_kernel_accepts() -> None:
    server, mac = IPv4Address("10.9.0.4"), MacAddress.parse("52:54:00:aa:00:09")
    frames = garbage_frames(server, mac, IPv4Network("10.9.0.0/24"), random.Random(1))
    sizes, ports = set(), set()
    for frame in islice(frames, 2_000):
        assert frame[12:14] == b"\x08\x00"
        header, udp = frame[14:34], frame[34:]
        total = sum(struct.unpack("!10H", header))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
        _, port, length, _ = struct.unpack_from("!HHHH", udp)
        assert length == len(udp) <= 1_500 - 20
        assert frame[:6] in (mac.octets, b"\xff" * 6)
        sizes.add(length - 8)
        ports.add(port)
    assert ports == set(PORTS)
    assert {0, 1} <= sizes
    assert max(sizes) > 1_000


class CountingServer:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def kill(self) -> None:
        self.steps.append("kill")

    def start(self) -> None:
        self.steps.append("start")


def test_the_server_dies_once_for_each_moment_that_hurts() -> None:
    server, faults = CountingServer(), Faults([Fault.SERVER_KILL])
    for phase in (
        Phase.POWER,
        Phase.PROGRAM,
        Phase.PROGRAM,
        Phase.KERNEL,
        Phase.IMAGE,
        Phase.IMAGE,
    ):
        faults.inflict(phase, server)  # type: ignore[arg-type]
    assert server.steps == ["kill", "start"] * len(KILL_AT)


def test_without_faults_the_server_is_left_alone() -> None:
    server = CountingServer()
    Faults([]).inflict(Phase.INSTALLED, server)  # type: ignore[arg-type]
    assert server.steps == []


def test_a_kept_console_has_neither_terminal_sequences_nor_tokens() -> None:
    token = "Zk3-_9" * 7
    text = f"\x1b[2J\x1b[01;01Hrackseed.answer=http://10.9.0.4/answer/{token} ok\r\n\x07"
    shown = readable(text)
    assert token not in shown
    assert "\x1b" not in shown
    assert "rackseed.answer=http://10.9.0.4/answer/… ok" in shown
