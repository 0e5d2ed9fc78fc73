"""The step that looks whether guests can have the GPUs that the inventory promises them."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kickstarts.errors import BadValue
from kickstarts.render import steps_of
from kickstarts.roles import roles
from kickstarts.roles.base import Gpu
from tests.unit.kickstarts.plans import CLOUD

GPU_STEP = """\
write() { cat >"$OUT"; }
fail() { echo "$1"; exit 1; }
dracut() { :; }
STATE=/none STEP=25-devices
"""


def write_device(root: Path, vendor: str, driver: str | None, functions: int | None) -> None:
    """One PCI device as the kernel shows it, and who holds it."""
    device = root / "sys/bus/pci/devices/0000:3b:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"0x{vendor}\n")
    (device / "device").write_text("0x1028\n")
    if functions is not None:
        (device / "sriov_totalvfs").write_text(f"{functions}\n")
    if driver is not None:
        (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")


def run_step(root: Path, kind: str = "type-PCI") -> tuple[int, str]:
    """Its status, and what it said."""
    step = steps_of(roles()["gpu"])["25-devices"].replace("/sys/", f"{root}/sys/")
    script = f"OUT={root}/modprobe.conf GPUS=K20m:10de:1028:{kind}\n{GPU_STEP}{step}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"], input=script, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("vendor", "driver", "iommu", "said"),
    [
        ("10de", "vfio-pci", "dmar0", ""),
        ("10de", "nouveau", "dmar0", "0000:3b:00.0 (K20m) is held by nouveau, expected vfio-pci"),
        ("10de", None, "dmar0", "is held by none, expected vfio-pci"),
        ("8086", "vfio-pci", "dmar0", "no device 10de:1028 (K20m) is in this machine"),
        ("10de", "vfio-pci", None, "no IOMMU: switch VT-d or AMD-Vi on"),
    ],
)
def test_a_gpu_that_guests_could_not_have_fails_its_step(tmp_path, vendor, driver, iommu, said):
    write_device(tmp_path, vendor, driver, None)
    (tmp_path / "sys/class/iommu" / (iommu or "")).mkdir(parents=True)
    status, output = run_step(tmp_path)
    assert status == (1 if said else 0)
    assert said in output
    assert "options vfio-pci ids=10de:1028\n" in (tmp_path / "modprobe.conf").read_text()


@pytest.mark.parametrize(
    ("functions", "kind", "said"),
    [
        (None, "type-PCI", ""),
        (0, "type-PCI", ""),
        (16, "type-PF", ""),
        (16, "type-PCI", "(K20m) has SR-IOV: add  sriov: true"),
        (None, "type-PF", "(K20m) has no SR-IOV: take sriov out"),
    ],
)
def test_a_gpu_is_of_the_type_that_nova_asks_for(tmp_path, functions, kind, said):
    write_device(tmp_path, "10de", "vfio-pci", functions)
    (tmp_path / "sys/class/iommu/dmar0").mkdir(parents=True)
    status, output = run_step(tmp_path, kind)
    assert status == (1 if said else 0)
    assert said in output


def test_an_alias_is_of_one_type():
    """Nova refuses another one, and each guest that asks for a GPU (nova/pci/request.py)."""
    big = Gpu("K20m", "10de", "2330", sriov=True)
    with pytest.raises(BadValue, match="one sriov for all that is called K20m"):
        replace(CLOUD, gpus=(*CLOUD.gpus, big))
    gpus = (*CLOUD.gpus, Gpu("H100", "10de", "2330", sriov=True))
    role = roles()["gpu"].of(replace(CLOUD, gpus=gpus))
    assert role.settings["GPUS"] == "K20m:10de:1028:type-PCI H100:10de:2330:type-PF"
