"""`rackseed check` finds what is wrong around an inventory, before a host does."""

import json
import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from provision import verify
from provision.cli.main import invoke
from provision.errors import ProgramFailed
from provision.inventory.load import load
from provision.inventory.model import Place
from provision.inventory.verify import (
    file_trouble,
    verify_files,
    verify_image,
    verify_template,
    warn,
)
from pxe.programs import PROGRAMS
from pxe.ramdisk.build import find_busybox
from pxe.ramdisk.kernel import find_kernel
from rpmspecs.states import Entry, State, switch, write_record

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    """A copy of the example whose artifacts are there."""
    shutil.copytree(EXAMPLES, tmp_path / "rack", ignore=shutil.ignore_patterns("*.db*"))
    folder = tmp_path / "rack" / "artifacts" / "centos-stream-9"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(b"kernel")
    (folder / "initrd.img").write_bytes(b"initrd")
    return tmp_path / "rack" / "rack.yaml"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A root folder in which every boot program is installed, as Debian has them."""
    root = tmp_path / "root"
    for sources in PROGRAMS.values():
        path = root / next(iter(sources.values())).paths[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"program")
    (root / "etc").mkdir()
    (root / "etc" / "os-release").write_text("ID=debian\n", encoding="utf-8")
    return root


def pretend_all_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.verify.verify_programs", lambda inventory: [])
    monkeypatch.setattr("provision.verify.verify_ramdisk", lambda inventory: [])


def published(folder: Path, *names: str, url: str | None = "http://boot/rpm/x") -> None:
    """The record of a repository with these packages, and nothing else of it."""
    state_folder = folder / "states" / "1"
    state_folder.mkdir(parents=True)
    packages = tuple(
        Entry(f"Packages/{name}.rpm", f"{name}-1-1.noarch", name, "") for name in names
    )
    now = datetime(2026, 11, 21, tzinfo=UTC)
    write_record(State(1, state_folder, True, now, 1, "ABCD", url, packages))
    switch(folder, 1)


def with_packages(rack: Path) -> Path:
    """The example, with a repository for its hosts; returns the repository's folder."""
    text = rack.read_text(encoding="utf-8")
    written = "    # packages: rpm/centos-stream-9\n"
    assert text.count(written) == 1
    rack.write_text(text.replace(written, written.replace("# ", "")), encoding="utf-8")
    return rack.parent / "rpm/centos-stream-9"


def test_a_package_that_a_role_installs_is_looked_for_in_the_repository(rack):
    folder = with_packages(rack)
    published(folder, "openstack-node-full", "openstack-node-computer")

    (problem,) = verify.verify_packages(load(rack))

    line = rack.read_text().splitlines().index("  compute:") + 1
    assert problem.text == (
        f"{rack}:{line}: roles.compute.metapackage: the package openstack-node-compute is not in "
        f"{folder}, expected it there"
    )
    assert problem.hint == (
        f"did you mean 'node-computer'? else rackseed rpm build, then  "
        f"rackseed rpm publish RESULTS --repository {folder}"
    )


def test_a_repository_that_has_what_roles_install_is_sound(rack):
    published(with_packages(rack), "openstack-node-full", "openstack-node-compute")
    assert verify.verify_packages(load(rack)) == []


def test_a_repository_that_hosts_cannot_use_is_told_once(rack):
    folder = with_packages(rack)
    place = f"{rack}:{rack.read_text().splitlines().index('  centos-stream-9:') + 1}"
    (problem,) = verify.verify_packages(load(rack))
    assert problem.text == (
        f"{place}: systems.centos-stream-9.packages: {folder} holds no published packages, "
        "expected a repository"
    )
    assert problem.hint == (
        f"rackseed rpm publish RESULTS --repository {folder} "
        "--url http://<this server>/rpm/centos-stream-9"
    )
    published(folder, "openstack-node-full", url=None)
    (problem,) = verify.verify_packages(load(rack))
    assert "was published without its URL" in problem.message


def test_the_example_is_sound_but_for_its_interface(rack, programs):
    inventory = load(rack)
    assert verify_files(inventory) == []
    assert verify.verify_programs(inventory, programs) == []
    assert verify.verify_scripts(inventory) == []
    assert verify.verify_answers(inventory) == []
    (warning,) = warn(inventory, ["lo", "br-prow"])
    assert warning.key == "network.interface"
    assert warning.hint == "did you mean 'br-prow'?"


def test_a_sound_inventory_gives_a_summary_and_status_0(rack, monkeypatch, capsys):
    pretend_all_is_installed(monkeypatch)
    assert invoke(["check", "-i", str(rack)]) == 0
    captured = capsys.readouterr()
    assert f"{rack}: 6 hosts, nothing wrong" in captured.out
    assert "bios 2, uefi 2, uefi with Secure Boot 1, uefi-http 1" in captured.out


def test_the_summary_in_json_has_the_warnings_too(rack, monkeypatch, capsys):
    pretend_all_is_installed(monkeypatch)
    assert invoke(["check", "-i", str(rack), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["hosts"] == 6
    assert facts["roles"] == {"controller": 1, "compute": 4, "gpu": 1}
    assert [warning["key"] for warning in facts["warnings"]] == ["network.interface"]


def test_a_missing_kernel_is_told_with_the_nearest_file(rack, capsys):
    folder = rack.parent / "artifacts" / "centos-stream-9"
    (folder / "vmlinuz").rename(folder / "vmlinux")
    assert invoke(["check", "-i", str(rack)]) == 2
    errors = capsys.readouterr().err
    assert f"systems.centos-stream-9: {folder}/vmlinuz does not exist, expected a file" in errors
    assert " hint: did you mean 'vmlinux'?" in errors


def test_problems_in_the_file_are_shown_as_text_even_with_json(rack, capsys):
    rack.write_text(rack.read_text(encoding="utf-8").replace("role: gpu", "role: gqu"), "utf-8")
    assert invoke(["check", "-i", str(rack), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err
    assert " hint: did you mean 'gpu'?" in captured.err


def test_a_program_that_is_not_installed_is_told_with_its_package(rack, programs):
    (programs / "usr/lib/shim/shimx64.efi.signed").unlink()
    (problem,) = verify.verify_programs(load(rack), programs)
    assert problem.key == "racks.r12.cmp04"
    assert problem.message.startswith("boot program shimx64.efi is not installed")
    assert problem.message.endswith("; cmp04 boots it")
    assert problem.hint == "apt-get install shim-signed"


def test_what_the_ramdisk_is_built_from_must_be_installed(rack, tmp_path):
    finders = [partial(find_kernel, tmp_path), partial(find_busybox, [tmp_path / "busybox"])]
    kernel, busybox = verify.verify_ramdisk(load(rack), finders)
    assert kernel.message.startswith("the ramdisk cannot be built: ")
    assert busybox.hint is not None
    assert "busybox" in busybox.message


@pytest.mark.parametrize(
    ("make", "trouble"),
    [
        (lambda p: None, "does not exist, expected a file"),
        (lambda p: p.mkdir(), "is not a file, expected one"),
        (lambda p: p.touch(), "is empty, expected a file"),
        (lambda p: p.symlink_to("/etc/hostname"), "leads out of"),
        (lambda p: p.symlink_to(p), "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_served_says_why(tmp_path, make, trouble):
    make(tmp_path / "kernel")
    assert trouble in str(file_trouble(tmp_path, "kernel"))


def test_a_mistake_in_a_template_has_the_templates_own_line(tmp_path):
    path = tmp_path / "host.ks.j2"
    path.write_text("text\n{% if disk %}\n{{ host }\n", encoding="utf-8")
    (problem,) = verify_template(path, Place(Path("rack.yaml"), 7), "roles.any.answer")
    assert str(problem).startswith(f"{path}:3: not a Jinja2 template: ")
    assert problem.hint == "named by rack.yaml:7: roles.any.answer"


def test_a_name_that_no_answer_has_is_told_once_with_the_nearest(rack):
    path = rack.parent / "answers" / "host.ks.j2"
    path.write_text("hostname {{ hosst }}\n", encoding="utf-8")
    problems = verify.verify_answers(load(rack))
    assert [problem.key for problem in problems] == [
        "roles.controller.answer",
        "roles.compute.answer",
        "roles.gpu.answer",
    ]
    assert "for cmp01 and 3 more" in problems[1].message
    assert problems[1].hint == "did you mean 'host'?"


def test_an_answer_of_the_operators_own_is_read_as_its_installer_will(rack):
    path = rack.parent / "answers" / "host.ks.j2"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("timezone Etc/UTC --utc", "timezona {{ host }}"), encoding="utf-8")
    controller, compute, gpu = verify.verify_answers(load(rack))
    assert controller.key == "roles.controller.answer"
    line = text.splitlines().index("timezone Etc/UTC --utc") + 1
    assert controller.message == (
        f"{path} as it is filled for ctl01, line {line}: Unknown command: timezona"
    )
    assert (compute.key, gpu.key) == ("roles.compute.answer", "roles.gpu.answer")


def test_a_command_line_that_is_too_long_is_found_before_a_host_finds_it(rack):
    text = rack.read_text(encoding="utf-8")
    words = "\n".join(f"      - filler.{number:04}={'x' * 80}" for number in range(30))
    rack.write_text(text.replace("      - inst.text", words), encoding="utf-8")
    problems = verify.verify_scripts(load(rack))
    assert len(problems) == 6
    assert "no boot script can be written: kernel command line of" in problems[0].message


def test_grub_is_asked_about_each_kind_of_script_once(rack):
    seen = []
    verify.verify_grub(load(rack), lambda argv: seen.append(Path(argv[1]).read_text("utf-8")), "c")
    assert len(seen) == len(set(seen)) == 6
    assert sum("/answer/<single-use>" in script for script in seen) == 1


def test_what_grub_says_is_told_with_the_host(rack):
    def refuse(argv: list[str]) -> str:
        raise ProgramFailed(argv, 1, f"{argv[1]}:3: syntax error")

    problem = verify.verify_grub(load(rack), refuse, "grub-script-check")[0]
    assert "GRUB does not take its boot script: line:3: syntax error" in problem.message
    assert problem.key.startswith("racks.r12.cmp0")


def test_grub_on_another_port_than_80_is_warned_about(rack):
    text = rack.read_text(encoding="utf-8").replace("  lease_time: 1h", "  http_port: 8080")
    rack.write_text(text, encoding="utf-8")
    warnings = warn(load(rack), ["br-prov"])
    assert [warning.key for warning in warnings] == ["racks.r12.cmp03", "racks.r12.cmp04"]


@pytest.mark.parametrize(
    ("name", "begin", "said"),
    [
        ("a.raw", b"\xeb\x63\x90", None),
        ("a.raw.gz", b"\x1f\x8b\x08", None),
        ("a.raw.xz", b"\xfd7zXZ\0", None),
        ("a.raw.zst", b"\x28\xb5\x2f\xfd", None),
        ("a.img", b"QFI\xfb\0\0\0\3", "is qcow2, expected a raw disk image"),
        ("a.raw.bz2", b"BZh91AY", "is bzip2, expected a raw disk image"),
        ("a.raw", b"\x1f\x8b\x08", "is gzip by its content and raw by its name"),
        ("a.gz", b"\xeb\x63\x90", "is raw by its content and gzip by its name"),
    ],
)
def test_an_image_that_would_never_boot_is_found_by_how_it_begins(tmp_path, name, begin, said):
    path = tmp_path / name
    path.write_bytes(begin)
    problems = verify_image(path, Place(tmp_path, 1), "roles.fast.image")
    if said is None:
        assert problems == []
    else:
        assert said in problems[0].message
