"""GRUB's own parser accepts every configuration that we render."""

import subprocess
from ipaddress import IPv4Address

import pytest

from pxe.boot import BootTarget, Loader, LocalDisk, Multiboot, UnknownMachine
from pxe.script import Machine, render
from tests.sites import CLIENT, KERNEL, SETTINGS
from tests.tools import require_tool


@pytest.mark.parametrize(
    "target",
    [
        LocalDisk("it's (not) armed"),
        KERNEL,
        Multiboot("xen.gz", ("com1=115200,8n1",), "vmlinuz", ("a.img", "b.img"), ("x=1",), "it's"),
        UnknownMachine(("a: {b: c}", "it's")),
    ],
)
def test_grub_parses_what_we_render(target: BootTarget):
    check = require_tool("grub-script-check", package="grub-common")
    text = render(Loader.GRUB, target, Machine(CLIENT, IPv4Address("10.20.0.11")), SETTINGS)
    result = subprocess.run([check], input=text, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
