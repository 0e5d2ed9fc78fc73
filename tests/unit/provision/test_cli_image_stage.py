"""`build-image stage` asks for the seal."""

import hashlib
import json
from pathlib import Path

import pytest
import typer

from provision.cli.image.main import app
from provision.cli.report import ExitStatus, run_to_status

DISK = bytes(510) + b"\x55\xaa" + bytes(1 << 20)
FINDING = {"row": "machine-id", "path": "/etc/machine-id", "seen": "32 digits"}


def stage(folder: Path, *options: str) -> int:
    (folder / "x.raw").write_bytes(DISK)
    arguments = ["stage", str(folder / "x.raw"), str(folder), *options]
    command = typer.main.get_command(app)
    return run_to_status(
        lambda: command.main(arguments, prog_name="build-image", standalone_mode=False)
    )


def seal(folder: Path, sha256: str, *findings: object) -> None:
    told = {"sha256": sha256, "sealed": not findings, "findings": findings, "unread": []}
    (folder / "x.raw.seal.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("sha256", "findings", "told"),
    [
        (hashlib.sha256(DISK).hexdigest(), [FINDING], "/etc/machine-id: 32 digits"),
        ("ab" * 32, [], "the report is of another file"),
    ],
)
def test_an_image_that_is_not_sealed_is_not_staged(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sha256: str,
    findings: list[object],
    told: str,
) -> None:
    seal(tmp_path, sha256, *findings)
    assert stage(tmp_path) == ExitStatus.FAILED
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.raw.zst").exists()
    assert stage(tmp_path, "--force-unsealed") == ExitStatus.DONE
    assert "warning" in capsys.readouterr().err
    assert (tmp_path / "x.raw.zst").exists()


def test_a_sealed_image_is_staged_without_a_word_and_one_without_a_report_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage(tmp_path) == ExitStatus.DONE
    assert "no report says that it is sealed" in capsys.readouterr().err
    seal(tmp_path, hashlib.sha256(DISK).hexdigest())
    assert stage(tmp_path) == ExitStatus.DONE
    assert "warning" not in capsys.readouterr().err
