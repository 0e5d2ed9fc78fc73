"""Boot scripts mean what the target says, in three languages, whatever the values hold."""

import dataclasses
import re
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.boot import BootTarget, Kernel, Loader, LocalDisk, Multiboot, UnknownMachine
from pxe.errors import RenderError
from pxe.script import COMMAND_LINE_LIMIT, Machine, render, render_autoexec
from tests.sites import KERNEL, SETTINGS, STRANGER

MACHINE = Machine(STRANGER, IPv4Address("10.20.3.9"))
INSTALLER = Kernel(
    kernel="artifacts/fedora-43/vmlinuz",
    initrds=("artifacts/fedora-43/initrd.img", "artifacts/extra/drivers.img"),
    arguments=("inst.stage2=http://10.20.0.1/artifacts/fedora-43", "ds=nocloud;s=http://x/&y"),
    title="installing cmp01 (fedora-43)",
)
HYPERVISOR = Multiboot(
    hypervisor="artifacts/xcp-ng-8.3/xen.gz",
    hypervisor_arguments=("dom0_mem=max:8192M", "com1=115200,8n1", "console=com1,vga"),
    kernel="artifacts/xcp-ng-8.3/vmlinuz",
    initrds=("artifacts/xcp-ng-8.3/install.img",),
    arguments=("console=hvc0", "install", "answerfile_generator=http://10.20.0.1/answer/a"),
    title="installing xen01 (xcp-ng-8.3)",
)
TARGETS: dict[str, BootTarget] = {
    "hypervisor": HYPERVISOR,
    "local-disk": LocalDisk("cmp01 is active and not armed"),
    "kernel": KERNEL,
    "installer": INSTALLER,
    "unknown": UnknownMachine(
        (
            "Add it to the inventory, in its rack:",
            "  NAME: {mac: 52:54:00:aa:00:99, address: 10.20.0.13, role: ROLE}",
        )
    ),
}


@pytest.mark.parametrize("loader", Loader)
@pytest.mark.parametrize("target", TARGETS)
def test_a_script_reads_as_its_golden_file(
    loader: Loader, target: str, golden: Callable[[str, str], None]
):
    text = render(loader, TARGETS[target], MACHINE, SETTINGS)
    golden(f"pxe/{target}.{loader.value}", text)


def test_autoexec_sends_ipxe_on_its_usual_way(golden: Callable[[str, str], None]):
    golden("pxe/autoexec.ipxe", render_autoexec())


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "two words",
        "tab\there",
        "line\nreboot",
        "line\rreboot",
        "${net0/mac}",
        "$root",
        "`id`",
        'quote"',
        "quote'",
        "back\\slash",
        "{",
        "a}",
        "nul\0",
        "umlaut=ä",
        "||",
        "&&",
        ";",
        "initrd=evil.img",
    ],
)
@pytest.mark.parametrize("loader", Loader)
def test_an_argument_that_could_mean_something_else_is_refused(loader: Loader, argument: str):
    target = dataclasses.replace(KERNEL, arguments=("console=tty0", argument))
    with pytest.raises(RenderError):
        render(loader, target, MACHINE, SETTINGS)


@pytest.mark.parametrize("field", ["arguments", "hypervisor_arguments"])
@pytest.mark.parametrize("argument", ["---", "two words", "$root", "line\nreboot", "||"])
@pytest.mark.parametrize("loader", Loader)
def test_a_hypervisors_arguments_are_refused_likewise(loader: Loader, argument: str, field: str):
    with pytest.raises(RenderError):
        render(loader, dataclasses.replace(HYPERVISOR, **{field: (argument,)}), MACHINE, SETTINGS)


def test_a_refused_argument_does_not_show_its_value():
    target = dataclasses.replace(KERNEL, arguments=("rackseed.answer=http://x/answer/S3cret\n",))
    with pytest.raises(RenderError, match=r"rackseed\.answer") as refused:
        render(Loader.IPXE, target, MACHINE, SETTINGS)
    assert "S3cret" not in str(refused.value)


def test_a_command_line_longer_than_the_kernel_reads_is_refused():
    fits = dataclasses.replace(KERNEL, arguments=("a" * 1000, "b" * (COMMAND_LINE_LIMIT - 1001)))
    render(Loader.IPXE, fits, MACHINE, SETTINGS)
    with pytest.raises(RenderError, match="2048 bytes"):
        render(
            Loader.IPXE,
            dataclasses.replace(fits, arguments=(*fits.arguments[:1], fits.arguments[1] + "b")),
            MACHINE,
            SETTINGS,
        )


@pytest.mark.parametrize(
    "path",
    ["", "/etc/shadow", "../x", "a/../b", "a//b", "a b", "a\nb", "${x}", "a,b", "-a", "a/", "a;b"],
)
@pytest.mark.parametrize("loader", Loader)
def test_a_path_outside_the_catalog_is_refused(loader: Loader, path: str):
    for target in (
        dataclasses.replace(KERNEL, kernel=path),
        dataclasses.replace(KERNEL, initrds=(path,)),
    ):
        with pytest.raises(RenderError):
            render(loader, target, MACHINE, SETTINGS)


@given(text=st.text())
def test_text_for_people_never_becomes_a_command(text: str):
    for loader in Loader:
        harmless = render(loader, LocalDisk("x"), MACHINE, SETTINGS)
        rendered = render(loader, LocalDisk(text), MACHINE, SETTINGS)
        assert len(rendered.splitlines()) == len(harmless.splitlines())
        [changed] = [
            line
            for line, before in zip(rendered.splitlines(), harmless.splitlines(), strict=True)
            if line != before
        ] or [""]
        assert not set(changed.removeprefix("echo '").removesuffix("'")) & set("$'`;&|<>\\\n\r")


@pytest.mark.parametrize("line", ["-n", "  - item", "--", "- - x", " -", "------"])
def test_no_text_is_an_option_to_ipxe(line: str):
    for target in (
        LocalDisk(line),
        UnknownMachine((line,)),
        dataclasses.replace(KERNEL, title=line),
    ):
        for written in render(Loader.IPXE, target, MACHINE, SETTINGS).splitlines():
            assert not re.match(r"echo\s+-", written)


def test_grub_tries_http_and_then_tftp():
    # Debian's signed netboot image says: error: disk `http,10.20.0.1' not found.
    text = render(Loader.GRUB, KERNEL, MACHINE, SETTINGS)
    assert "for base in '(http,10.20.0.1)' '(tftp,10.20.0.1)'; do" in text
    assert 'linux "$base/ramdisk/vmlinuz"' in text


def test_grub_loads_by_tftp_when_http_has_another_port_than_80():
    settings = dataclasses.replace(SETTINGS, http_port=8080)
    text = render(Loader.GRUB, KERNEL, MACHINE, settings)
    assert "for base in '(tftp,10.20.0.1)'; do" in text
    assert "(http," not in text
    assert "http://10.20.0.1:8080/ramdisk/vmlinuz" in render(Loader.IPXE, KERNEL, MACHINE, settings)
