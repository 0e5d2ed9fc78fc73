"""The step that looks whether guests can have the GPUs that the inventory promises them."""

import subprocess
from pathlib import Path

import pytest

from kickstarts.render import steps_of
from kickstarts.roles import roles

GPU_STEP = """\
write() { cat >"$OUT"; }
fail() { echo "$1"; exit 1; }
dracut() { :; }
GPUS=K20m:10de:1028 STATE=/none STEP=25-devices
"""


def write_device(root: Path, vendor: str, driver: str | None) -> None:
    """One PCI device as the kernel shows it, and who holds it."""
    device = root / "sys/bus/pci/devices/0000:3b:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"0x{vendor}\n")
    (device / "device").write_text("0x1028\n")
    if driver is not None:
        (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")


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
    write_device(tmp_path, vendor, driver)
    (tmp_path / "sys/class/iommu" / (iommu or "")).mkdir(parents=True)
    step = steps_of(roles()["gpu"])["25-devices"].replace("/sys/", f"{tmp_path}/sys/")
    script = f"OUT={tmp_path}/modprobe.conf\n{GPU_STEP}{step}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"], input=script, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1 if said else 0, "")
    assert said in done.stdout
    assert "options vfio-pci ids=10de:1028\n" in (tmp_path / "modprobe.conf").read_text()
