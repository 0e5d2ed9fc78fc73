"""The verifier on real disk images: any table, any compression, each leftover on its own."""

import json
import os
import random
import stat
import struct
from pathlib import Path

import pytest

from imagebuild.inside.disk import Part, open_disk
from imagebuild.inside.errors import Unreadable
from imagebuild.inside.filesystems import open_file_system, recognise
from imagebuild.inside.image import open_image
from imagebuild.inside.kernel import open_with_kernel
from imagebuild.inside.tree import Kind, Tree
from imagebuild.seal.freespace import OVERLAP, STEP, keys
from imagebuild.seal.verify import verify_image
from provision.cli.image import main as cli
from tests.disks import MIB, ROOT_AT, ROOT_SIZE, UUID, disk, ext4, qcow2, run
from tests.tools import require_root, require_tool
from tests.unsealed import CLEAN, PLANTS, make

FORMS = {
    "raw": None,
    "qcow2": (),
    "qcow2-zlib": ("-c",),
    "qcow2-zstd": ("-c", "-o", "compression_type=zstd"),
    "qcow2-v2": ("-o", "compat=0.10"),
    "qcow2-small-clusters": ("-c", "-o", "cluster_size=4096"),
    "qcow2-large-clusters": ("-c", "-o", "cluster_size=2M,compression_type=zstd"),
}


def _image(folder: Path, files: dict[str, str], form: str = "raw", table: str = "gpt") -> Path:
    tree = make(folder / "tree", files)
    raw = disk(folder / "disk.raw", ext4(folder / "root.ext4", tree), table)
    options = FORMS[form]
    return raw if options is None else qcow2(folder / "disk.qcow2", raw, *options)


@pytest.mark.parametrize("form", FORMS)
def test_an_image_of_any_form_is_read_byte_for_byte(form, tmp_path):
    image = _image(tmp_path, CLEAN, form)
    expected = (tmp_path / "disk.raw").read_bytes()
    with open_disk(image) as opened:
        assert opened.data.size == len(expected)
        assert opened.data.read_at(0, len(expected)) == expected
        assert opened.data.read_at(len(expected) - 3, 99) == expected[-3:]
        at, holes = 0, bytearray()
        while (data := opened.data.next_data(at)) is not None:
            holes += expected[at:data]
            at = data + 4096
        assert at > ROOT_AT
        assert not any(holes + expected[at:])


def test_an_enormous_empty_disk_is_looked_through_at_once(tmp_path):
    image = tmp_path / "disk.qcow2"
    run(require_tool("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", image, "1P")
    with open_disk(image) as opened:
        assert keys(opened.data) == []


@pytest.mark.parametrize("table", ["gpt", "mbr", "logical"])
def test_the_root_is_found_behind_any_partition_table(table, tmp_path):
    image = _image(tmp_path, CLEAN | {"etc/fstab": f"UUID={UUID} / ext4 rw 0 1\n"}, "raw", table)
    report = verify_image(image)
    assert report.findings == ()
    assert report.sealed
    assert report.system == "Debian GNU/Linux 12 (bookworm)"


def test_partitions_have_the_ids_that_fstab_uses(tmp_path):
    with open_image(_image(tmp_path, CLEAN, table="mbr")) as image:
        assert image.volumes[1].partition.uuid == "1234abcd-02"
    with open_image(_image(tmp_path, CLEAN)) as image:
        names = [volume.partition.name for volume in image.volumes]
        assert names == ["esp", "root"]
        listed = run(require_tool("sfdisk", "fdisk"), "--json", image.disk.path)
        rows = json.loads(listed)["partitiontable"]["partitions"]
        assert [v.partition.uuid for v in image.volumes] == [row["uuid"].lower() for row in rows]


def test_a_file_system_without_a_partition_table_is_an_image_too(tmp_path):
    path = ext4(tmp_path / "root.ext4", make(tmp_path / "tree", {**CLEAN, **PLANTS["kerberos"]}))
    assert [finding.path for finding in verify_image(path).findings] == ["etc/krb5.keytab"]


@pytest.mark.parametrize("row", PLANTS)
def test_each_unsealed_image_is_found_out(row, tmp_path):
    tree = make(tmp_path / "tree", {**CLEAN, **PLANTS[row]})
    report = verify_image(ext4(tmp_path / "root.ext4", tree))
    assert {finding.row.name for finding in report.findings} == {row}


def test_a_snapshot_within_the_file_is_found(tmp_path):
    image = _image(tmp_path, CLEAN, "qcow2")
    run("qemu-img", "snapshot", "-c", "before", image)
    report = verify_image(image)
    assert [finding.row.name for finding in report.findings] == ["snapshots"]


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAA" * 40 + "\n"


@pytest.mark.parametrize("form", ["raw", "qcow2-zstd"])
def test_a_private_key_in_a_deleted_file_is_found_and_one_in_a_file_is_not(form, tmp_path):
    files = {**CLEAN, "usr/share/kept.pem": KEY, "root/deleted.pem": KEY}
    root = ext4(tmp_path / "root.ext4", make(tmp_path / "tree", files))
    run(require_tool("debugfs", "e2fsprogs"), "-w", "-R", "rm root/deleted.pem", root)
    raw = disk(tmp_path / "disk.raw", root)
    options = FORMS[form]
    image = raw if options is None else qcow2(tmp_path / "disk.qcow2", raw, *options)
    findings = verify_image(image).findings
    assert [finding.row.name for finding in findings] == ["deleted-keys"]
    assert findings[0].seen.startswith("a deleted private key, at byte ")


def test_a_key_across_two_steps_of_the_search_is_found(tmp_path):
    for shift in (-OVERLAP // 2, -30, -1):
        path = tmp_path / "raw"
        with path.open("wb") as file:
            file.write(b"x" * (STEP + shift) + KEY.encode() + b"x" * STEP)
        with open_disk(path) as opened:
            assert keys(opened.data) == [STEP + shift]


def test_swap_space_is_found(tmp_path):
    image = _image(tmp_path, CLEAN)
    swap = tmp_path / "swap"
    with swap.open("wb") as file:
        file.truncate(4 * MIB)
    run(require_tool("mkswap", "util-linux"), swap)
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(swap.read_bytes())
    assert [str(finding) for finding in verify_image(image).findings] == [
        "swap: partition 1 is swap space"
    ]


def test_an_image_with_a_part_that_nobody_can_read_is_not_sealed(tmp_path):
    image = _image(tmp_path, CLEAN)
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(b"LUKS\xba\xbe")
    report = verify_image(image)
    assert report.findings == ()
    assert report.unread == ("partition 1 holds LUKS",)
    assert not report.sealed


def test_a_fat_partition_is_read_where_the_system_mounts_it(tmp_path):
    files = {**CLEAN, "etc/fstab": "PARTLABEL=esp /boot/efi vfat umask=0077 0 1\n", "boot/efi/": ""}
    image = _image(tmp_path, files)
    fat = tmp_path / "esp"
    with fat.open("wb") as file:
        file.truncate(4 * MIB)
    run(require_tool("mkfs.vfat", "dosfstools"), fat)
    run(require_tool("mmd", "mtools"), "-i", fat, "::/loader")
    (tmp_path / "seed").write_text("x")
    run("mcopy", "-i", fat, tmp_path / "seed", "::/loader/random-seed")
    with image.open("r+b") as file:
        file.seek(MIB)
        file.write(fat.read_bytes())
    findings = verify_image(image).findings
    assert [finding.path for finding in findings] == ["boot/efi/loader/random-seed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-b", "base.qcow2", "-F", "qcow2"), "has a backing file"),
        (("-o", "data_file=other.raw"), "keeps its data in another file"),
    ],
)
def test_an_image_that_points_to_another_file_is_refused(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create = (require_tool("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2")
    run(*create, "base.qcow2", "8M")
    run(*create, *options, "image.qcow2", "8M")
    with pytest.raises(Unreadable, match=said):
        verify_image(tmp_path / "image.qcow2")


def test_what_is_no_image_is_refused_in_words(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "archive.gz").write_bytes(b"\x1f\x8b\x08\x00 and more")
    with pytest.raises(Unreadable, match="no root file system"):
        verify_image(tmp_path / "empty")
    with pytest.raises(Unreadable, match="is a gzip file"):
        verify_image(tmp_path / "archive.gz")


@pytest.mark.parametrize("form", ["qcow2-zlib", "qcow2-zstd", "raw"])
def test_a_damaged_image_is_refused_or_not_sealed_but_never_ends_us(form, tmp_path):
    image = _image(tmp_path, CLEAN, form)
    whole = bytearray(image.read_bytes())
    chance = random.Random(7)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 20, 400))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        image.write_bytes(damaged[: chance.choice((len(damaged), len(damaged) // 2))])
        try:
            verify_image(image)
        except Unreadable:
            continue


@pytest.mark.parametrize("type_", ["ext4", "ext4-meta", "ext4-old", "xfs"])
def test_the_library_and_the_kernel_read_the_same(type_, tmp_path):
    require_root()
    tree = make(tmp_path / "tree", _everything())
    (tree / "var/sparse").open("wb").truncate(9 * MIB)
    (tree / "etc/shadow").chmod(0o640)
    os.chown(tree / "etc/shadow", 12, 34)
    os.mkfifo(tree / "run-pipe")
    _give_attributes(tree / "etc")
    path = _file_system(type_, tmp_path, tree)
    kind = type_.partition("-")[0]
    size = path.stat().st_size
    with open_with_kernel(path, kind, 0, size) as kernel, open_disk(path) as opened:
        part = Part(opened.data, 0, size)
        signature = recognise(part)
        assert signature is not None
        assert signature.type == kind
        theirs, ours = Tree(kernel), Tree(open_file_system(part, kind))
        assert dict(ours.walk()) == dict(theirs.walk())
        for name, entry in theirs.walk():
            if entry.kind is Kind.FILE:
                assert ours.read(name) == theirs.read(name), name
            elif entry.kind is Kind.LINK:
                assert ours.link(name) == theirs.link(name), name
            if type_ != "ext4-meta":
                assert ours.attributes(name) == theirs.attributes(name), name
        assert len(theirs.attributes("etc")) == 6
        if type_ == "ext4-meta":
            with pytest.raises(Unreadable, match="meta_bg cannot be read"):
                ours.attributes("etc")
    assert run(require_tool("losetup", "mount"), "--associated", path) == ""


def test_a_file_system_that_the_library_would_read_wrongly_is_not_sealed(tmp_path):
    tree = make(tmp_path / "tree", CLEAN)
    path = ext4(tmp_path / "root.ext4", tree, ROOT_SIZE, "-O", "inline_data")
    with pytest.raises(Unreadable, match="no root file system") as refused:
        verify_image(path)
    assert "features 0x8000 cannot be read without the kernel" in refused.value.__notes__[0]


def test_an_image_that_was_not_unmounted_is_not_sealed(tmp_path):
    path = ext4(tmp_path / "root.ext4", make(tmp_path / "tree", CLEAN))
    run(require_tool("debugfs", "e2fsprogs"), "-w", "-R", "feature needs_recovery", path)
    with pytest.raises(Unreadable, match="no root file system") as refused:
        verify_image(path)
    assert "not unmounted" in refused.value.__notes__[0]


def test_the_kernel_reads_a_partition_of_a_raw_disk_too(tmp_path):
    require_root()
    image = _image(tmp_path, {**CLEAN, **PLANTS["kerberos"]})
    with open_with_kernel(image, "ext4", ROOT_AT, ROOT_SIZE) as root:
        assert stat.S_IMODE(0o755) == root.entry("etc").mode


def test_a_btrfs_with_subvolumes_is_read_by_the_kernel_alone(tmp_path, capsys, monkeypatch):
    require_root()
    mkfs = require_tool("mkfs.btrfs", "btrfs-progs")
    fstab = f"UUID={UUID} / btrfs subvol=root 0 0\nUUID={UUID} /home btrfs subvol=home 0 0\n"
    tree = make(tmp_path / "tree", {**CLEAN, "etc/fstab": fstab, "home/": ""})
    (tree / "home/ops/.profile").unlink()
    (tree / "home/ops").rmdir()
    kept = make(tmp_path / "home", PLANTS["ssh-user-keys"])
    path, mount = tmp_path / "btrfs", tmp_path / "mount"
    with path.open("wb") as file:
        file.truncate(200 * MIB)
    run(mkfs, "-q", "-U", UUID, path)
    mount.mkdir()
    copy = """mount -o loop "$1" "$2"; cd "$2"; btrfs -q subvolume create root
    btrfs -q subvolume create home; cp -a "$3/." root/; cp -a "$4/home/." home/
    cd /; umount "$2" """
    run("unshare", "--mount", "sh", "-euc", copy, "sh", path, mount, tree, kept)
    image = qcow2(tmp_path / "disk.qcow2", path, "-c")
    with pytest.raises(Unreadable, match="no root file system") as refused:
        verify_image(image)
    assert "btrfs cannot be read without the kernel" in refused.value.__notes__[0]
    monkeypatch.setattr("sys.argv", ["build-image", "verify", "--kernel", str(image)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert ended.value.code == 1
    assert "not sealed, 1 findings" in said
    assert "/home/ops/.ssh/authorized_keys: a file of" in said


def test_what_the_kernel_cannot_read_is_told_by_its_own_name(tmp_path, capsys, monkeypatch):
    require_root()
    path = tmp_path / "words.raw"
    path.write_text("no disk\n" * 512)
    monkeypatch.setattr("sys.argv", ["build-image", "verify", "--kernel", str(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"error: {path}: has no root file system" in said
    assert "rackseed-verify-" not in said


def test_an_ordinary_user_verifies_as_root_does(tmp_path):
    require_root()
    image = _image(tmp_path, {**CLEAN, **PLANTS["passwords"]}, "qcow2-zstd")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    before = verify_image(image)
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        os._exit(0 if verify_image(image) == before else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_command_lists_every_finding_with_its_row_and_how_to_mend_it(
    tmp_path, capsys, monkeypatch
):
    image = _image(tmp_path, {**CLEAN, **PLANTS["kerberos"], **PLANTS["logs"]}, "qcow2")
    monkeypatch.setattr("sys.argv", ["build-image", "verify", "--write", str(image)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().out
    for words in ("kerberos", "/etc/krb5.keytab", "logs", "/var/log/dpkg.log", "mend:", "why:"):
        assert words in said
    written = json.loads((tmp_path / "disk.qcow2.seal.json").read_text())
    assert [finding["row"] for finding in written["findings"]] == ["kerberos", "logs", "logs"]
    assert not written["sealed"]


def test_the_command_is_content_with_a_sealed_image(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["build-image", "verify", str(_image(tmp_path, CLEAN))])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "sealed. Debian GNU/Linux 12" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_image(tmp_path, capsys, monkeypatch):
    (tmp_path / "x.qcow2").write_bytes(b"QFI\xfb")
    monkeypatch.setattr("sys.argv", ["build-image", "verify", str(tmp_path / "x.qcow2")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "ends within its own qcow2 header" in capsys.readouterr().err


def _everything() -> dict[str, str]:
    files = {**CLEAN, "etc/long": f"-> {'x/' * 60}", "etc/short": "-> fstab"}
    files |= {f"usr/share/many/file-with-a-name-{number}": str(number) for number in range(2000)}
    return files | {"usr/share/large": "0123456789abcdef" * 40000, "usr/share/ümlaut": "x"}


def _give_attributes(folder: Path) -> None:
    """Some of each kind, one larger than what fits into an inode."""
    entries = ((1, 7, -1), (2, 6, 1000), (4, 5, -1), (8, 4, 34), (0x10, 7, -1), (0x20, 5, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        os.setxattr(folder, name, acl)
    os.setxattr(folder, "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
    os.setxattr(folder, "user.large", b"0123456789" * 40)
    os.setxattr(folder, "user.empty", b"")
    os.setxattr(folder, "trusted.ours", b"x")
    os.setxattr(folder / "short", "security.ours", b"x", follow_symlinks=False)


def _file_system(type_: str, folder: Path, tree: Path) -> Path:
    path = folder / "root"
    if type_ == "xfs":
        mkfs, mount = require_tool("mkfs.xfs", "xfsprogs"), folder / "mount"
        with path.open("wb") as file:
            file.truncate(320 * MIB)
        run(mkfs, "-q", path)
        mount.mkdir()
        copy = 'mount -o loop "$1" "$2" && cp -a "$3/." "$2/" && umount "$2"'
        run("unshare", "--mount", "sh", "-c", copy, "sh", path, mount, tree)
        return path
    features = {"ext4-meta": "meta_bg,^resize_inode", "ext4-old": "^metadata_csum,^64bit,^extent"}
    options = ("-O", features[type_]) if type_ in features else ()
    return ext4(path, tree, 64 * MIB, *options)
