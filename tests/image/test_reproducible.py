"""The same again is made of what was kept, and is the same."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.build import Built, Way, build_image
from imagebuild.difference import compare_images
from imagebuild.filechanges import compare_files, is_expected
from imagebuild.inside.image import open_image
from imagebuild.phases import Phase
from provision.cli.image import main as cli
from tests.builds import Again
from tests.disks import ext4
from tests.unsealed import CLEAN, make

pytestmark = pytest.mark.timeout(900)


def test_the_same_again_takes_what_was_kept(again: Again):
    assert again.built.skipped == "system"
    assert again.built.report.sealed
    assert Phase.PACKAGES not in again.came
    assert {Phase.ROOT, Phase.DISK, Phase.PACKING, Phase.VERIFYING} <= set(again.came)


def test_its_files_differ_only_in_what_is_written_down(debian_12: Built, again: Again):
    found = compare_files(debian_12.path, again.built.path)
    assert [str(one) for one in found if not is_expected(one)] == []


def test_its_packages_file_systems_and_seal_are_the_same(debian_12: Built, again: Again):
    found = compare_images(debian_12.path, again.built.path)
    assert not any((found.added, found.removed, found.changed, found.folders, found.broken))
    one, other = (beside(built, ".packages") for built in (debian_12, again.built))
    assert one == other
    assert one.splitlines() == sorted(one.splitlines())
    assert signatures(debian_12.path) == signatures(again.built.path)


def beside(built: Built, suffix: str) -> str:
    return built.path.with_name(f"{built.path.name}{suffix}").read_text(encoding="utf-8")


def signatures(path: Path) -> list[tuple[str, str, str]]:
    """What boot loaders and fstab may name."""
    with open_image(path) as image:
        found = [volume.signature for volume in image.volumes]
    return [(one.type, one.uuid, one.label) for one in found if one]


@pytest.mark.long
def test_installed_anew_it_is_the_same(debian_12: Built, build_way: Way, tmp_path: Path):
    """Nothing of an earlier build is taken, so packages and initramfs are made a second time."""
    own = replace(build_way.settings, output=tmp_path)
    made = build_image(debian_12.recipe, replace(build_way, settings=own, reuse=False))
    assert made.skipped == ""
    found = compare_files(debian_12.path, made.path)
    assert [str(one) for one in found if not is_expected(one)] == []


def test_the_command_tells_every_file_that_differs(tmp_path, capsys, monkeypatch):
    tree = make(tmp_path / "tree", CLEAN)
    old = ext4(tmp_path / "old.raw", tree)
    (tree / "etc/hosts").chmod(0o600)
    (tree / "etc/new").write_text("x")
    new = ext4(tmp_path / "new.raw", tree)

    def said(*options: str) -> str:
        arguments = ["build-image", "diff", "--files", *options, str(old), str(new)]
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    found = {one["path"]: one["what"] for one in json.loads(said("--json"))["files"]}
    assert found["/etc/hosts"] == ["mode"]
    assert found["/etc/new"] == ["added"]
    assert set(found) <= {"/etc", "/etc/hosts", "/etc/new", "/lost+found"}  # made when mke2fs ran
    assert "/etc/hosts: mode" in said()
