"""The ramdisk boots in QEMU, tells what the machine is made of, and writes images to disks.

One guest at a time, started with -kernel, on QEMU's user-mode network; the server is this test.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.images import packed
from pxe import fat
from pxe.errors import MissingProgram
from pxe.ramdisk.build import Ramdisk, build, find_busybox
from pxe.ramdisk.kernel import find_kernel
from tests.rack_server import Server
from tests.tools import missing, require_tool

MAC = "52:54:00:aa:00:09"
MIB = 2**20

pytestmark = pytest.mark.timeout(400)


@dataclass
class Guest:
    """A running QEMU and the text on its serial console."""

    process: subprocess.Popen[bytes]
    log: Path

    def console(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None or condition(), self.console()[-3000:]
            assert time.monotonic() < end, self.console()[-3000:]
            time.sleep(0.1)

    def wait_for_end(self, seconds: float = 180) -> None:
        """Wait until the machine has switched itself off or restarted."""
        try:
            assert self.process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            pytest.fail(f"the guest did not end: {self.console()[-3000:]}")


@pytest.fixture(scope="session")
def ramdisk(tmp_path_factory: pytest.TempPathFactory) -> Ramdisk:
    try:
        return build(find_kernel(), find_busybox(), tmp_path_factory.mktemp("ramdisk"))
    except MissingProgram as error:
        missing(str(error))


@pytest.fixture
def server() -> Iterator[Server]:
    rack = Server()
    rack.start()
    yield rack
    rack.stop()


@pytest.fixture
def boot(ramdisk: Ramdisk, tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    qemu = require_tool("qemu-system-x86_64", package="qemu-system-x86")
    guests: list[Guest] = []

    def start(words: Mapping[str, str], *devices: str, kernel_words: str = "") -> Guest:
        line = " ".join(f"rackseed.{key}={value}" for key, value in words.items())
        log = tmp_path / f"console-{len(guests)}.log"
        argv = [
            *(str(qemu), "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-m", "256", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{log}", "-netdev", "user,id=n0"),
            *("-kernel", str(ramdisk.kernel), "-initrd", str(ramdisk.initrd)),
            *("-append", f"console=ttyS0,115200 console=tty0 {line} {kernel_words}"),
            *devices,
        ]
        log.touch()
        guests.append(Guest(subprocess.Popen(argv, stdin=subprocess.DEVNULL), log))
        return guests[-1]

    yield start
    for guest in guests:
        guest.process.send_signal(signal.SIGKILL)
        guest.process.wait()


def disk(path: Path, model: str, serial: str, mebibytes: int, name: str) -> list[str]:
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(mebibytes * MIB)
    return [
        "-drive",
        f"if=none,id={name},file={path},format=raw,cache=unsafe",
        "-device",
        f"{model},drive={name},serial={serial}",
    ]


def two_port_nvme(path: Path, serial: str, mebibytes: int, name: str) -> list[str]:
    """A disk as servers have it: Linux also lists each way to it, which has no device node."""
    drive = disk(path, "nvme", serial, mebibytes, name)[:2]
    ways = ["-device", f"nvme-subsys,id=sub-{name}", "-device", f"nvme,subsys=sub-{name}"]
    ways[-1] += f",serial={serial}"
    return [*drive, *ways, "-device", f"nvme-ns,drive={name},shared=on"]


def nic(model: str) -> list[str]:
    return ["-device", f"{model},netdev=n0,mac={MAC},romfile="]


def test_an_inspection_names_disks_cards_and_gpus_also_when_the_server_comes_late(
    boot: Callable[..., Guest], server: Server, tmp_path: Path
) -> None:
    server.stop()
    guest = boot(
        {"mac": MAC, "action": "inspect", "report": server.url("/report/x")},
        *nic("e1000e"),
        *("-device", "VGA", "-device", "virtio-gpu-pci"),
        *disk(tmp_path / "nvme", "nvme", "NVME-1", 64, "d1"),
        *disk(tmp_path / "sata", "ide-hd", "SATA-2", 96, "d2"),
        *disk(tmp_path / "virtio", "virtio-blk-pci", "VIRTIO-3", 32, "d3"),
        *("-device", "virtio-scsi-pci"),
        *disk(tmp_path / "scsi", "scsi-hd", "SCSI-4", 48, "d4"),
        *("-smbios", 'type=1,manufacturer=Acme "Quoted" \\ Inc,product=R1,serial=S-77'),
    )
    guest.wait_for(lambda: "the server does not answer" in guest.console())
    server.start()
    guest.wait_for_end()
    (report,) = server.reports
    assert report["kind"] == "inspection"
    found = report["data"]
    disks = {d["serial"]: (d["bytes"] // MIB, d["transport"]) for d in found["disks"]}
    assert disks == {
        "NVME-1": (64, "nvme"),
        "SATA-2": (96, "sata"),
        "VIRTIO-3": (32, "virtio"),
        "SCSI-4": (48, "scsi"),
    }
    (card,) = found["nics"]
    assert (card["mac"], card["driver"], card["carrier"]) == (MAC, "e1000e", True)
    assert card["speed"] == 1000
    gpus = {(gpu["vendor"], gpu["product"]) for gpu in found["gpus"]}
    assert gpus == {("1234", "1111"), ("1af4", "1050")}
    assert found["dmi"]["vendor"] == 'Acme "Quoted" \\ Inc'
    assert found["dmi"]["serial"] == "S-77"
    assert (found["firmware"], found["secure_boot"]) == ("bios", False)
    assert found["cpu"]["threads"] == 2
    assert found["memory"]["installed_bytes"] == 256 * MIB
    assert 128 * MIB < found["memory"]["bytes"] < 256 * MIB
    assert f"network address=10.0.2.15 mac={MAC}" in guest.console()


def answer(server: Server, image: bytes, **changes: str) -> dict[str, str]:
    """Offer `image`, the file as served, and give the words of the kernel command line."""
    values = {
        "image": server.url("/image"),
        "sha256": hashlib.sha256(image).hexdigest(),
        "size": str(len(image)),
        "disk": "smallest",
    }
    server.files["/answer/t"] = "".join(
        f"{key}={value}\n" for key, value in (values | changes).items()
    ).encode()
    server.files["/image"] = image
    return {
        "mac": MAC,
        "action": "image",
        "report": server.url("/report/x"),
        "answer": server.url("/answer/t"),
    }


def image_bytes(mebibytes: int = 24) -> bytes:
    return random.Random(7).randbytes(mebibytes * MIB - 512 * 3)


def test_an_image_is_written_to_the_chosen_disk_also_when_the_stream_breaks_off(
    boot: Callable[..., Guest], server: Server, tmp_path: Path
) -> None:
    image = image_bytes()
    server.cut_after["/image"] = [9 * MIB]
    guest = boot(
        answer(server, image),
        *nic("virtio-net-pci"),
        *disk(tmp_path / "large", "ide-hd", "LARGE", 64, "d1"),
        *two_port_nvme(tmp_path / "small", "SMALL", 32, "d2"),
    )
    guest.wait_for_end()
    assert server.kinds()[-1] == "installed"
    assert server.reports[-1]["data"]["serial"] == "SMALL"
    written = (tmp_path / "small").read_bytes()
    assert written[: len(image)] == image
    assert not any(written[len(image) :])
    assert not any((tmp_path / "large").read_bytes())
    assert server.fetched == ["/answer/t", "/image", "/image"]


@pytest.mark.parametrize("method", ["gzip", "zstd"])
def test_a_compressed_image_is_written_to_the_disk_with_a_serial_number(
    boot: Callable[..., Guest], server: Server, tmp_path: Path, method: str
) -> None:
    tool = require_tool(method)
    image = image_bytes(4) + bytes(8 * MIB)
    packed = subprocess.run([tool, "-c"], input=image, capture_output=True, check=True).stdout
    guest = boot(
        answer(server, packed, disk="WANTED", compression=method),
        *nic("igb") if _qemu_has("igb") else nic("e1000e"),
        *disk(tmp_path / "other", "virtio-blk-pci", "OTHER", 16, "d1"),
        *disk(tmp_path / "wanted", "virtio-blk-pci", "WANTED", 32, "d2"),
    )
    guest.wait_for_end()
    assert server.kinds()[-1] == "installed"
    assert (tmp_path / "wanted").read_bytes()[: len(image)] == image
    assert not any((tmp_path / "other").read_bytes())


def test_an_image_with_another_digest_is_reported_and_leaves_an_unbootable_disk(
    boot: Callable[..., Guest], server: Server, tmp_path: Path
) -> None:
    image = image_bytes(6)
    # Real disks do not end on a MiB, and the copy of the partition table lies at their very end.
    (tmp_path / "only").write_bytes(b"\xaa" * (16 * MIB + 24 * 1024))
    guest = boot(
        answer(server, image, sha256="00" * 32),
        *nic("virtio-net-pci"),
        *disk(tmp_path / "only", "virtio-blk-pci", "ONLY", 16, "d1"),
    )
    guest.wait_for(lambda: "failed" in server.kinds())
    guest.wait_for(lambda: "STOPPED" in guest.console())
    assert "SHA-256" in server.reports[-1]["message"]
    written = (tmp_path / "only").read_bytes()
    assert not any(written[:MIB]), "a boot sector or partition table is left"
    assert not any(written[-MIB:]), "a backup partition table is left"


def test_an_image_larger_than_the_disk_is_refused_before_anything_is_written(
    boot: Callable[..., Guest], server: Server, tmp_path: Path
) -> None:
    image = image_bytes(20)
    (tmp_path / "only").write_bytes(b"\xaa" * (16 * MIB))
    guest = boot(
        answer(server, image),
        *nic("virtio-net-pci"),
        *disk(tmp_path / "only", "virtio-blk-pci", "ONLY", 16, "d1"),
    )
    guest.wait_for(lambda: "failed" in server.kinds())
    assert "only 16777216" in server.reports[-1]["message"]
    assert (tmp_path / "only").read_bytes() == b"\xaa" * (16 * MIB)
    assert "/image" not in server.fetched


def test_a_seed_is_planted_behind_the_image_and_the_system_is_to_report(
    boot: Callable[..., Guest], server: Server, tmp_path: Path
) -> None:
    sfdisk = require_tool("sfdisk", package="fdisk")
    (tmp_path / "image").write_bytes(image_bytes(8)[: 8 * MIB // 512 * 512 - 512])
    partition = b"label: gpt\nstart=1MiB\n"
    subprocess.run(
        [sfdisk, "--quiet", "--wipe=never", tmp_path / "image"], input=partition, check=True
    )
    image = (tmp_path / "image").read_bytes()
    seed = fat.image({"user-data": b"#cloud-config\n"}, "CIDATA")
    guest = boot(
        answer(server, image, seed=packed(seed), raw_size=str(len(image))),
        *nic("virtio-net-pci"),
        *disk(tmp_path / "only", "virtio-blk-pci", "ONLY", 32, "d1"),
    )
    guest.wait_for_end()
    assert server.kinds()[-1] == "progress"
    assert server.reports[-1]["message"] == "the image is on vda"
    told = subprocess.run([sfdisk, "--json", tmp_path / "only"], capture_output=True, check=True)
    table = json.loads(told.stdout)["partitiontable"]
    assert told.stderr == b"", "both copies of the table are whole"
    _, planted = table["partitions"]
    written = (tmp_path / "only").read_bytes()
    assert written[planted["start"] * 512 :].startswith(seed)
    end = len(image) - 34 * 512  # there the image had the copy of its table
    assert written[MIB:end] == image[MIB:end]


def test_a_used_answer_is_reported_as_failed(boot: Callable[..., Guest], server: Server) -> None:
    words = answer(server, b"x" * 512)
    del server.files["/answer/t"]
    guest = boot(words, *nic("virtio-net-pci"))
    guest.wait_for(lambda: "failed" in server.kinds())
    assert "404" in server.reports[-1]["message"]
    assert server.fetched == ["/answer/t"]


def test_a_machine_without_the_named_card_says_so_and_starts_no_loop(
    boot: Callable[..., Guest], server: Server
) -> None:
    guest = boot(
        {"mac": "52:54:00:ff:ff:ff", "action": "inspect", "report": "http://x/", "patience": "3"},
        *nic("virtio-net-pci"),
    )
    guest.wait_for(lambda: "STOPPED: no interface has the MAC address" in guest.console())
    assert guest.process.poll() is None


def _qemu_has(model: str) -> bool:
    qemu = shutil.which("qemu-system-x86_64") or "/usr/bin/qemu-system-x86_64"
    known = subprocess.run([qemu, "-device", "help"], capture_output=True, text=True, check=True)
    return f'name "{model}"' in known.stdout
