"""One tree of names: nothing outside it is reachable, and a script goes only to its machine."""

import dataclasses
import os
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.boot import Loader
from pxe.catalog import Catalog, File, NotFound, ScriptName, Text, is_gone, normalise, script_name
from pxe.settings import DhcpMode
from tests.descriptors import no_more_descriptors
from tests.sites import CLIENT, KERNEL, LOOPBACK, NOW, OTHER, SETTINGS, STRANGER, MemorySite

LEASED = IPv4Address("10.20.3.9")


@pytest.fixture
def site() -> MemorySite:
    return MemorySite()


@pytest.fixture
def catalog(tmp_path: Path, site: MemorySite) -> Catalog:
    for name in ("artifacts/fedora/vmlinuz", "ramdisk/initrd.img", "programs/shim.signed"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return Catalog(
        programs={"shimx64.efi": tmp_path / "programs/shim.signed"},
        artifacts=tmp_path / "artifacts",
        ramdisk=tmp_path / "ramdisk",
        site=site,
        settings=SETTINGS,
        now=lambda: NOW,
    )


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("undionly.kpxe", "undionly.kpxe"),
        ("/undionly.kpxe", "undionly.kpxe"),
        ("//grubx64.efi", "grubx64.efi"),
        ("\\EFI\\grubx64.efi", "EFI/grubx64.efi"),
        ("/artifacts//fedora/./vmlinuz", "artifacts/fedora/vmlinuz"),
        ("artifacts/fedora/../debian/linux", "artifacts/debian/linux"),
        ("artifacts%2Ffedora%2fvmlinuz", "artifacts/fedora/vmlinuz"),
        ("ipxe/52%3A54%3a00:aa:00:01.ipxe", "ipxe/52:54:00:aa:00:01.ipxe"),
        ("a%2520b", "a b"),
        ("snponly.efi\udcff", "snponly.efi"),
        ("snponly.efi\0", "snponly.efi"),
        ("snponly.efi\xff", "snponly.efi"),
        ("100%", "100%"),
        ("", None),
        ("/", None),
        ("//", None),
        ("..", None),
        ("/../etc/passwd", None),
        ("artifacts/../../etc/passwd", None),
        ("..\\..\\etc\\passwd", None),
        ("%2e%2e/etc/passwd", None),
        ("%252e%252e%252fetc/passwd", None),
        ("%25252525252e%25252525252e/x", None),
        ("artifacts/%00/x", None),
        ("x\0y", None),
        ("x\ny", None),
        ("x\x1by", None),
        ("x\udcffy", None),
        ("x%ffy", None),
        ("x" * 1025, None),
    ],
)
def test_a_name_means_one_place_in_the_tree_or_none(asked: str, meant: str | None):
    assert normalise(asked) == (None if meant is None else PurePosixPath(meant))


@given(st.text(st.sampled_from("./\\%25eEfFaA0\0\udcff ü"), max_size=40) | st.text())
def test_no_name_leads_out_of_the_tree(asked: str):
    name = normalise(asked)
    if name is not None:
        assert not name.is_absolute()
        assert ".." not in name.parts
        assert str(name).isprintable()
        assert normalise(str(name)) == name


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("ipxe/52:54:00:aa:00:01.ipxe", ScriptName(Loader.IPXE, CLIENT)),
        ("ipxe/52-54-00-AA-00-01.ipxe", ScriptName(Loader.IPXE, CLIENT)),
        ("grub/grub.cfg-01-52-54-00-aa-00-01", ScriptName(Loader.GRUB, CLIENT)),
        ("grub/grub.cfg", ScriptName(Loader.GRUB)),
        ("grub/x86_64-efi/grub.cfg", ScriptName(Loader.GRUB)),
        ("grub.cfg-7F000001", ScriptName(Loader.GRUB, address=LOOPBACK)),
        ("pxelinux.cfg/01-52-54-00-aa-00-01", ScriptName(Loader.PXELINUX, CLIENT)),
        ("pxelinux.cfg/7F000001", ScriptName(Loader.PXELINUX, address=LOOPBACK)),
        ("pxelinux.cfg/default", ScriptName(Loader.PXELINUX)),
        ("pxelinux.cfg/7F00000", None),
        ("pxelinux.cfg/52540000-aaaa-0000-0000-000000000001", None),
        ("grub/x86_64-efi/command.lst", None),
        ("ipxe/52:54:00:aa:00.ipxe", None),
    ],
)
def test_a_script_is_named_by_mac_by_address_or_by_nothing(name: str, script: ScriptName | None):
    assert script_name(PurePosixPath(name)) == script


def test_programs_artifacts_and_the_ramdisk_are_files(catalog: Catalog, tmp_path: Path):
    for asked, path in {
        "/shimx64.efi": "programs/shim.signed",
        "artifacts/fedora/vmlinuz": "artifacts/fedora/vmlinuz",
        "ramdisk/initrd.img": "ramdisk/initrd.img",
    }.items():
        found = catalog.resolve(asked, LOOPBACK)
        assert isinstance(found, File)
        assert found.path == (tmp_path / path).resolve()
        with found.open() as handle:
            assert handle.read() == path.encode()
        assert found.size == len(path)


@pytest.mark.parametrize(
    "asked", ["artifacts", "artifacts/", "artifacts/fedora", "artifacts/nothing", "nothing", "/"]
)
def test_what_is_not_a_file_is_not_found(catalog: Catalog, asked: str):
    assert isinstance(catalog.resolve(asked, LOOPBACK), NotFound)


def test_symbolic_links_serve_inside_and_are_refused_outside(catalog: Catalog, tmp_path: Path):
    artifacts = tmp_path / "artifacts"
    (artifacts / "current").symlink_to("fedora")
    (artifacts / "secret").symlink_to(tmp_path / "programs/shim.signed")
    (artifacts / "up").symlink_to("..")
    (artifacts / "loop").symlink_to("loop")
    assert isinstance(catalog.resolve("artifacts/current/vmlinuz", LOOPBACK), File)
    for asked in ("artifacts/secret", "artifacts/up/programs/shim.signed", "artifacts/loop"):
        assert isinstance(catalog.resolve(asked, LOOPBACK), NotFound)


def test_a_repository_is_served_as_it_is_now_and_nothing_beside_it(
    catalog: Catalog, tmp_path: Path
):
    for name in ("states/1/repomd.xml", "states/2/repomd.xml", ".lock"):
        (tmp_path / "packages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "packages" / name).write_text(name)
    current = tmp_path / "packages/current"
    current.symlink_to("states/1")
    (tmp_path / "packages/out").symlink_to("../artifacts")
    catalog = dataclasses.replace(catalog, repositories={"fedora-43": tmp_path / "packages"})

    def served(name: str) -> Path | None:
        found = catalog.resolve(f"rpm/fedora-43/{name}", STRANGER)
        return found.path if isinstance(found, File) else None

    assert served("current/repomd.xml") == tmp_path / "packages/states/1/repomd.xml"
    (tmp_path / "packages/next").symlink_to("states/2")
    (tmp_path / "packages/next").replace(current)
    assert served("current/repomd.xml") == tmp_path / "packages/states/2/repomd.xml"
    assert served("states/1/repomd.xml") == tmp_path / "packages/states/1/repomd.xml"
    for name in ("", "current", ".lock", "out/fedora/vmlinuz", "../artifacts/fedora/vmlinuz"):
        assert served(name) is None, name
    assert isinstance(catalog.resolve("rpm/other/current/repomd.xml", STRANGER), NotFound)


def test_hidden_files_and_pipes_are_not_served(catalog: Catalog, tmp_path: Path):
    (tmp_path / "artifacts/.secret").write_text("x")
    os.mkfifo(tmp_path / "artifacts/pipe")
    assert isinstance(catalog.resolve("artifacts/.secret", LOOPBACK), NotFound)
    assert isinstance(catalog.resolve("artifacts/pipe", LOOPBACK), NotFound)


def test_a_file_that_was_replaced_since_is_not_opened(catalog: Catalog, tmp_path: Path):
    found = catalog.resolve("artifacts/fedora/vmlinuz", LOOPBACK)
    assert isinstance(found, File)
    new = tmp_path / "new"
    new.write_text("artifacts/fedora/vmlinuX")
    new.replace(tmp_path / "artifacts/fedora/vmlinuz")
    with pytest.raises(OSError, match="replaced"):
        found.open()


def test_a_file_that_became_a_folder_is_gone_and_stays_closed(catalog: Catalog, tmp_path: Path):
    found = catalog.resolve("artifacts/fedora/vmlinuz", LOOPBACK)
    assert isinstance(found, File)
    (tmp_path / "artifacts/fedora/vmlinuz").unlink()
    (tmp_path / "artifacts/fedora/vmlinuz").mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # no descriptor of its own stays
    with pytest.raises(FileNotFoundError) as caught:
        found.open()
    assert is_gone(caught.value)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("name", ["loop", "loop/x", "fedora/vmlinuz/x", "x" * 300, "nothing/x"])
def test_names_that_lead_nowhere_are_not_found(catalog: Catalog, tmp_path: Path, name: str):
    (tmp_path / "artifacts/loop").symlink_to("loop")
    assert isinstance(catalog.resolve(f"artifacts/{name}", LOOPBACK), NotFound)


def test_a_file_that_cannot_be_looked_at_now_is_not_said_to_be_gone(catalog: Catalog):
    with no_more_descriptors(), pytest.raises(OSError, match="Too many open files") as caught:
        catalog.resolve("artifacts/fedora/vmlinuz", LOOPBACK)
    assert not is_gone(caught.value)


@pytest.mark.parametrize(
    ("asked", "first_line"),
    [
        ("ipxe/52:54:00:aa:00:01.ipxe", "#!ipxe"),
        ("grub/grub.cfg", "set timeout=0"),
        ("//grub/grub.cfg-01-52-54-00-aa-00-01", "set timeout=0"),
        ("pxelinux.cfg/01-52-54-00-aa-00-01", "SERIAL 0 115200"),
        ("pxelinux.cfg/7F000001", "SERIAL 0 115200"),
        ("pxelinux.cfg/default", "SERIAL 0 115200"),
    ],
)
def test_a_known_machine_gets_its_script(
    catalog: Catalog, site: MemorySite, asked: str, first_line: str
):
    found = catalog.resolve(asked, LOOPBACK)
    assert isinstance(found, Text)
    assert found.body.decode().splitlines()[0] == first_line
    assert site.targets == [(CLIENT, LOOPBACK, SETTINGS.http_url)]


@pytest.mark.parametrize(
    ("asked", "peer"),
    [
        ("ipxe/52:54:00:aa:00:01.ipxe", "10.20.0.12"),
        ("ipxe/52:54:00:aa:00:01.ipxe", "10.20.0.200"),
        ("ipxe/52:54:00:aa:00:01.ipxe", "10.20.3.9"),
        ("ipxe/52:54:00:aa:00:99.ipxe", "127.0.0.1"),
        ("pxelinux.cfg/7F000001", "10.20.0.12"),
        ("grub/grub.cfg", "10.20.0.200"),
        ("grub/grub.cfg", "10.20.3.10"),
    ],
)
def test_no_script_is_made_for_another_address(
    catalog: Catalog, site: MemorySite, asked: str, peer: str
):
    assert isinstance(catalog.resolve(asked, IPv4Address(peer)), NotFound)
    assert site.targets == []


def test_a_leased_machine_gets_the_screen_for_unknown_ones(catalog: Catalog):
    for asked in (f"ipxe/{STRANGER}.ipxe", "grub/grub.cfg", "pxelinux.cfg/default"):
        found = catalog.resolve(asked, LEASED)
        assert isinstance(found, Text)
        assert f"MAC {STRANGER}, address {LEASED}".encode() in found.body


def test_beside_another_server_arp_tells_whose_script_it_is(catalog: Catalog, site: MemorySite):
    settings = dataclasses.replace(SETTINGS, mode=DhcpMode.PROXY)
    elsewhere = IPv4Address("10.20.2.77")
    beside = dataclasses.replace(
        catalog,
        settings=settings,
        neighbour=lambda interface, address: {("lo", elsewhere): CLIENT}.get((interface, address)),
    )
    assert isinstance(beside.resolve("grub/grub.cfg", elsewhere), Text)
    assert isinstance(beside.resolve(f"ipxe/{CLIENT}.ipxe", elsewhere), Text)
    assert isinstance(beside.resolve(f"ipxe/{OTHER}.ipxe", elsewhere), NotFound)
    assert isinstance(beside.resolve("grub/grub.cfg", LOOPBACK), NotFound)
    assert {(client, address) for client, address, _ in site.targets} == {(CLIENT, elsewhere)}


def test_an_expired_lease_is_worth_nothing(catalog: Catalog):
    assert isinstance(catalog.resolve(f"ipxe/{OTHER}.ipxe", IPv4Address("10.20.3.10")), NotFound)


def test_a_script_that_cannot_be_written_is_not_found_and_shows_no_secret(
    catalog: Catalog, site: MemorySite
):
    site.target = dataclasses.replace(KERNEL, arguments=("rackseed.answer=http://x/S3cret`",))
    found = catalog.resolve("grub/grub.cfg", LOOPBACK)
    assert isinstance(found, NotFound)
    assert "S3cret" not in repr(found)


def test_a_script_does_not_show_in_a_log_line(catalog: Catalog, site: MemorySite):
    site.target = KERNEL
    assert "An5wer" not in repr(catalog.resolve("grub/grub.cfg", LOOPBACK))


def test_autoexec_is_answered_for_everyone(catalog: Catalog):
    assert isinstance(catalog.resolve("/autoexec.ipxe", IPv4Address("192.0.2.1")), Text)
