"""`build-image` as people type it."""

import errno
import io
import json
import logging
import subprocess
from importlib.util import find_spec

import pytest
import typer
from rich.console import Console

from imagebuild.build import Way
from imagebuild.errors import Stopped
from imagebuild.phases import Event, Phase
from imagebuild.plan import Machine, Settings
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from provision.cli.image.build import our_machine
from provision.cli.image.main import COMMANDS, app, with_default
from provision.cli.image.run import View, build_each, watching
from provision.cli.main import invoke
from provision.cli.report import ExitStatus, run_to_status
from provision.run import run, start
from tests import disks
from tests.tools import require_tool


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Mirrors that answer at once; a dry run asks them."""
    monkeypatch.setattr("imagebuild.repositories.fetch", lambda url: b" 0123 1 Packages")


def build_image(*arguments):
    command = typer.main.get_command(app)
    return run_to_status(
        lambda: command.main(list(arguments), prog_name="build-image", standalone_mode=False)
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["debian-12"], ["build", "debian-12"]),
        (["--list"], ["build", "--list"]),
        (["-v", "debian-12"], ["-v", "build", "debian-12"]),
        (["build", "debian-12"], ["build", "debian-12"]),
        (["verify", "x.qcow2"], ["verify", "x.qcow2"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["verfy", "x.qcow2"], ["verfy", "x.qcow2"]),
        (["debain"], ["build", "debain"]),
        (["verfy.yaml"], ["build", "verfy.yaml"]),
        ([], []),
    ],
)
def test_what_is_no_subcommand_is_a_recipe(typed, meant):
    assert with_default(typed) == meant


def test_every_verb_that_is_there_is_offered(capsys):
    assert build_image("--help") == ExitStatus.DONE
    shown = capsys.readouterr().out
    for name in (name for name, entry in COMMANDS.items() if find_spec(entry.module)):
        assert f"  {name} " in shown


def test_recipes_are_listed(capsys):
    assert build_image("--list", "--json") == ExitStatus.DONE
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    assert "debian-12" in names
    assert "centos7-gpu" in names


def test_a_recipe_is_shown_with_the_gpus_that_it_drives(capsys):
    assert build_image("--show", "centos7-gpu-driver") == ExitStatus.DONE
    shown = capsys.readouterr().out
    assert "drives Kepler: K20m" in shown
    assert "hw_video_model: qxl" in shown
    assert "Secure Boot: the image starts by BIOS alone" in shown
    assert build_image("--show", "ubuntu-24.04-gpu-driver") == ExitStatus.DONE
    assert "Secure Boot: its modules are signed" in capsys.readouterr().out


def test_a_dry_run_prints_the_call_and_builds_nothing(capsys, tmp_path):
    out = tmp_path / "images"
    assert invoke(["image", "debian-12", "--dry-run", "-o", str(out)]) == ExitStatus.DONE
    shown = capsys.readouterr().out
    assert "export DIB_RELEASE=bookworm" in shown
    assert "disk-image-create" in shown
    assert not out.exists()
    cache = tmp_path / "cache"
    options = ("--dry-run", "--json", "--jobs", "2", "--cache", str(cache))
    assert build_image("debian-12", "debian-13", *options) == ExitStatus.DONE
    for told in json.loads(capsys.readouterr().out):
        assert told["call"][0] == "unshare"
        assert told["call"][-1] == f"{cache}/running/PID-XXXXXXXX/job.sh"
        assert told["layer"] is None
        saved = told["env"]["RACKSEED_SYSTEM_SAVE"]
        assert saved == f"{cache}/running/PID-XXXXXXXX/system.tar.zst"
    assert not cache.exists()


def test_a_dry_run_loads_no_kernel_module(monkeypatch, tmp_path):
    called = tmp_path / "called"
    modprobe = tmp_path / "modprobe"
    modprobe.write_text(f"#!/bin/sh\ntouch {called}\n", encoding="utf-8")
    modprobe.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert build_image("debian-12", "--dry-run") == ExitStatus.DONE
    assert not called.exists()
    our_machine(dry=False)
    assert called.exists()


def test_an_element_that_is_not_there_ends_the_dry_run(capsys, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: debian-12\nelements: cloud-innit\n", encoding="utf-8")
    assert build_image(str(recipe), "--dry-run") == ExitStatus.BAD_INPUT
    assert f"{recipe}:2: elements: unknown element" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "--json"], ["diff"]])
def test_files_that_are_no_images_are_bad_input(capsys, tmp_path, arguments):
    bad = [str(tmp_path / "absent"), str(tmp_path)]
    assert build_image(*arguments, *bad) == ExitStatus.BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    for path in bad:
        assert f"{path}: cannot be read: " in said.err


def test_an_image_damaged_deep_within_leaves_the_results_of_the_others(capsys, tmp_path):
    tree, whole, damaged = tmp_path / "tree", tmp_path / "whole.img", tmp_path / "damaged.img"
    for folder in ("etc/ssh", "var/log"):
        (tree / folder).mkdir(parents=True)
    (tree / "etc/os-release").write_text("ID=debian\n", encoding="utf-8")
    mkfs, debugfs = (require_tool(name, "e2fsprogs") for name in ("mkfs.ext4", "debugfs"))
    for path in (whole, damaged):
        options = ["-q", "-O", "^extent,^metadata_csum,^64bit", "-d", str(tree), str(path), "4M"]
        subprocess.run([str(mkfs), *options], check=True)
    break_it = "set_inode_field /etc/ssh block[0] 999999"
    subprocess.run([str(debugfs), "-w", "-R", break_it, str(damaged)], check=True)
    assert build_image("verify", "--json", str(damaged), str(whole)) == ExitStatus.BAD_INPUT
    said = capsys.readouterr()
    assert [one["image"] for one in json.loads(said.out)] == ["whole.img"]
    assert f"error: {damaged}: /etc/ssh on ext4 cannot be read" in said.err


def test_a_base_image_is_an_image_and_for_a_recipe_that_starts_from_one(capsys, tmp_path):
    text, image = tmp_path / "text", tmp_path / "base.qcow2"
    text.write_text("no disk\n", encoding="utf-8")
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/os-release").write_text("ID=centos\n", encoding="utf-8")
    root = disks.ext4(tmp_path / "root", tmp_path / "tree")
    disks.qcow2(image, disks.disk(tmp_path / "disk", root))
    rest = ("--dry-run", "--local-base")
    assert build_image("centos7", *rest, str(text)) == ExitStatus.BAD_INPUT
    assert f"--local-base: {text}" in capsys.readouterr().err
    assert build_image("debian-12", *rest, str(image)) == ExitStatus.BAD_INPUT
    assert "--local-base: debian-12 is made from packages alone" in capsys.readouterr().err
    assert build_image("centos7", *rest, str(image)) == ExitStatus.DONE
    assert f"DIB_LOCAL_IMAGE={image}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "ending"), [(Stopped("stopped"), Phase.STOPPED), (OSError("full"), Phase.FAILED)]
)
def test_a_build_that_somebody_ended_has_not_failed(monkeypatch, tmp_path, error, ending):
    def ends(recipe, way):
        raise error

    monkeypatch.setattr("provision.cli.image.run.build_image", ends)
    settings = Settings(tmp_path, tmp_path, tmp_path)
    seen = []
    way = Way(settings, Machine(tmp_path), Programs(run, start), seen.append)
    assert build_each([load_recipe("debian-12")], way, jobs=1) == [error]
    assert [event.phase for event in seen] == [ending]


def test_a_folder_that_cannot_be_made_is_told_by_its_name(monkeypatch, capsys, tmp_path):
    def ends(recipe, way):
        raise OSError(errno.EROFS, "Read-only file system", "/images")

    monkeypatch.setattr("provision.cli.image.run.build_image", ends)
    arguments = ("debian-12", "--output", str(tmp_path), "--cache", str(tmp_path / "cache"))
    assert build_image(*arguments) == ExitStatus.FAILED
    assert "error: /images: Read-only file system\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "proof"),
    [((), None), (("--boot-proof",), True), (("--no-boot-proof",), False)],
)
def test_a_person_may_ask_for_the_boot_proof_or_do_without(monkeypatch, tmp_path, option, proof):
    asked = []

    def ends(recipe, way):
        asked.append(way.proof)
        raise Stopped("enough")

    monkeypatch.setattr("provision.cli.image.run.build_image", ends)
    assert build_image("debian-12", "-o", str(tmp_path), *option) == ExitStatus.FAILED
    assert asked == [proof]


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


def test_what_is_logged_during_builds_stands_above_the_table():
    terminal, shown = Terminal(), Terminal()
    logger, handler = logging.getLogger(), logging.StreamHandler(terminal)
    logger.addHandler(handler)
    view = View([load_recipe("debian-12")])
    try:
        with watching(Console(file=shown, force_terminal=True, width=100), view) as watch:
            watch(Event("debian-12", Phase.VERIFYING))
            logger.warning("the boot proof is skipped")
            watch(Event("debian-12", Phase.BUILT, seconds=72))
        assert handler.stream is terminal
    finally:
        logger.removeHandler(handler)
    assert terminal.getvalue() == ""
    before, warning, after = shown.getvalue().partition("the boot proof is skipped")
    assert warning
    assert "verifying" not in before
    assert "verifying" in after
    assert "72" in after


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["debain-12"], "did you mean 'debian-12'"),
        (["ubuntu14.04"], "cannot be built any more"),
        (["verfy", "--kernel", "x.qcow2"], "No such command 'verfy'. Did you mean 'verify'"),
        (["--dry-run"], "no recipe is named"),
        (["--list", "debian-12"], "--list: found debian-12"),
        (["debian-12", "--local-base", "/nonexistent"], "is no file"),
        (["debian-12", "--dry-run", "-o", f"{__file__}/x"], f"--output: {__file__} is no folder"),
        (["debian-12", "--dry-run", "--cache", __file__], f"--cache: {__file__} is no folder"),
        (["debian-12", "--compression", "lzma"], "'--compression': 'lzma' is not one of 'zlib', "),
        (["debian-12", "--mirror", "notaurl", "--dry-run"], "--mirror: found 'notaurl'"),
        (["fedora-43", "--mirror", "http://m/f", "--dry-run"], "--mirror: fedora-43 is built"),
        (["upload", __file__, "--name", ""], "--name: found '', expected 1 to 255 characters"),
        (["upload", __file__, "--tag", "a", "--tag", "a\nb"], "--tag: found 'a\\nb', expected 1"),
    ],
)
def test_misuse_is_told_in_a_sentence(arguments, sentence, capsys):
    assert build_image(*arguments) == ExitStatus.BAD_INPUT
    assert sentence in capsys.readouterr().err
