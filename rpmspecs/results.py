"""The results folder: `TARGET/NAME-VERSION-RELEASE/` with packages, logs and `build.json`.

Each such folder is a repository of its own, so that what was built can be offered to the next
build. A folder appears whole under its name, or not at all; what failed lies beside it with the
ending `.failed`.
"""

import fcntl
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rpmspecs.capture import capture
from rpmspecs.errors import BadInput, DiskFull, RpmError
from rpmspecs.running import Programs
from rpmspecs.steps import Step, file_digest

log = logging.getLogger(__name__)

RECORD = "build.json"


def folder_of(step: Step, results: Path) -> Path:
    """Where the result of a step lies when it was built."""
    return results / step.target.name / step.spec.nvr


def failed_folder(step: Step, results: Path) -> Path:
    """Where its logs lie when it could not be built."""
    return results / step.target.name / f"{step.spec.nvr}.failed"


def read_record(folder: Path) -> Mapping[str, Any] | None:
    """What a finished build noted; None where there is none that can be read."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_built(step: Step, results: Path) -> bool:
    """Whether what lies there was made of the very same, and is complete."""
    folder = folder_of(step, results)
    record = read_record(folder)
    if record is None or record.get("digest") != step.digest:
        return False
    try:
        sizes = {p["name"]: p["size"] for p in record["packages"]}
        return (folder / "repodata/repomd.xml").is_file() and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, KeyError, TypeError):
        return False


def record_of(step: Step, folder: Path, facts: Mapping[str, object]) -> Mapping[str, object]:
    """What `build.json` says: of what the packages were made, and which they are."""
    packages = sorted(folder.glob("*.rpm"))
    return {
        "name": step.spec.name,
        "version": step.spec.version,
        "release": step.spec.release,
        "target": step.target.name,
        "digest": step.digest,
        "spec": {"path": step.spec.path.name, "sha256": file_digest(step.spec.path)},
        "sources": [
            *({"name": path.name, "sha256": file_digest(path)} for path in step.carried),
            *({"name": s.name, "sha256": s.digest, "url": s.url} for s in step.fetched),
        ],
        "needs": [name for _, name in step.needs],
        **facts,
        "packages": [
            {"name": p.name, "size": p.stat().st_size, "sha256": file_digest(p)} for p in packages
        ],
    }


def write_record(folder: Path, record: Mapping[str, object]) -> None:
    """Write `build.json`."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")


def make_repository(folder: Path, programs: Programs) -> None:
    """Give a folder the metadata that dnf reads; source packages are left out."""
    argv = ["createrepo_c", "--quiet", "--no-database", "--excludes=*.src.rpm", str(folder)]
    said = capture(programs.start, argv)
    if said.status and "No space left on device" in said.err:
        raise DiskFull(f"no space left in {folder} for its metadata")
    if said.status:
        raise RpmError(f"createrepo_c failed in {folder}: {said.err.strip()}")


@contextmanager
def building(step: Step, results: Path) -> Iterator[Path]:
    """A folder to build in, gone at the end unless `keep` or `keep_failed` moved it."""
    folder = results / step.target.name / f".{step.spec.nvr}.building"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(step: Step, folder: Path, results: Path) -> Path:
    """Put a finished folder in the place of an older one; returns where it now lies."""
    shutil.rmtree(failed_folder(step, results), ignore_errors=True)
    return _move(folder, folder_of(step, results))


def keep_failed(step: Step, folder: Path, results: Path) -> Path:
    """Keep the logs of a failed build; an older result stays where it is.

    What cannot be kept is left to `building`: why it failed matters more.
    """
    place = failed_folder(step, results)
    try:
        return _move(folder, place)
    except OSError as error:
        log.warning("the logs of a failed build are lost folder=%s why=%s", place, error)
        return folder


def _move(folder: Path, place: Path) -> Path:
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    folder.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return place


@contextmanager
def held(results: Path, targets: Sequence[str]) -> Iterator[None]:
    """The results of these targets, for this process alone. Raises BadInput."""
    if not targets:
        yield
        return
    folder = results / targets[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{folder} cannot be a folder, expected one for the results") from None
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{folder} is in use by another build, name another folder") from None
        with held(results, targets[1:]):
            yield
