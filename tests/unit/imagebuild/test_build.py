"""What lies in the folder of images, however a build ends."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuild import build
from imagebuild.build import Built, Way, build_image
from imagebuild.errors import (
    BadInput,
    DiskFull,
    NotAsPromised,
    NotProven,
    NotSealed,
    SourceUnavailable,
)
from imagebuild.evidence import Contents
from imagebuild.phases import PACKING_MARK
from imagebuild.plan import TMPFS_NEED, Machine, Settings
from imagebuild.proof import Proof
from imagebuild.proof_machine import Accelerator, Firmware, Guest, Tools, argv
from imagebuild.recipes import load_recipe
from imagebuild.running import Programs
from imagebuild.seal.report import SealReport
from imagebuild.seal.system import Family, System
from imagebuild.workshop import alone

DEBIAN = System("debian", "12", "Debian GNU/Linux 12 (bookworm)", Family.DEB, 252)
SUFFIXES = {".json", ".seal.json", ".packages", ".cdx.json", ".provenance.json"}
SUFFIXES |= {".sha256", ".sha512"}


class Killed(BaseException):
    """The moment of a kill -9."""


@dataclass
class Workbench:
    """Builds of debian-12 in which the programs' part is one file with these bytes."""

    output: Path
    cache: Path
    content: bytes = b"first"
    log: str = "log"
    status: int = 0
    tmpfs: bool = False
    unread: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def image(self) -> Path:
        return self.output / "debian-12.qcow2"

    def build(self, *, proof: bool | None = False, offline: bool = False) -> Built:
        settings = Settings(self.output, self.cache, Path("/work"), offline=offline)
        machine = Machine(
            Path("/bin"), available=TMPFS_NEED * self.tmpfs, cores=1, device_mapper=True, vfat=True
        )
        programs = Programs(self.run, self.start)
        way = Way(settings, machine, programs, fetch=lambda url: b"index", proof=proof)
        return build_image(load_recipe("debian-12"), way)

    def run(self, argv: Sequence[str], *, env: object = None, timeout: float = 0) -> str:
        assert argv[0] == "sh", "only to ask for versions"
        return f"{argv[3]} 1.2.3"

    def start(self, argv: object, *, stdout: Path, **_: object) -> "Workbench":
        (self.output / ".debian-12.qcow2.partial").write_bytes(self.content)
        stdout.write_text(f"{self.log}\n", encoding="utf-8")
        return self

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def stop(self, grace: float = 5) -> int:
        return 0

    def verify(self, path: Path) -> SealReport:
        return SealReport(path.name, "", (), (), self.unread, digest(path))

    def prove(self, path: Path, *_: object, **__: object) -> Proof:
        return Proof(path.name, "kvm", (), self.problems)

    def told(self, suffix: str) -> dict[str, object]:
        document: dict[str, object] = json.loads(
            self.image.with_name(self.image.name + suffix).read_bytes()
        )
        return document

    def names(self) -> set[str]:
        return {path.name for path in self.output.iterdir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    made = Workbench(tmp_path / "images", tmp_path / "cache")
    monkeypatch.setattr(build, "check_tools", lambda *_: None)
    monkeypatch.setattr(build, "verify_image", made.verify)
    monkeypatch.setattr(build, "prove", made.prove)
    monkeypatch.setattr(build, "read_contents", lambda _: Contents(DEBIAN, ()))
    monkeypatch.setattr("imagebuild.workshop.MEMORY", tmp_path / "run")
    return made


@pytest.fixture
def first(bench: Workbench) -> Workbench:
    """With an image that was built before."""
    bench.build(proof=True)
    return bench


def test_all_that_lies_beside_an_image_is_of_it(first: Workbench) -> None:
    files = {f"debian-12.qcow2{suffix}" for suffix in (*SUFFIXES, "", ".boot.json")}
    assert first.names() == {*files, "debian-12.log"}
    for suffix in (".json", ".seal.json", ".boot.json"):
        assert first.told(suffix)["sha256"] == digest(first.image)


def test_an_image_that_is_not_sealed_leaves_the_older_one_with_its_own_evidence(
    first: Workbench,
) -> None:
    before = first.names()
    first.content, first.unread = b"second", ("partition 2",)
    with pytest.raises(NotSealed) as raised:
        first.build()
    failed = first.output / "debian-12.failed.seal.json"
    assert str(failed) in raised.value.__notes__[0]
    assert json.loads(failed.read_bytes())["unread"] == ["partition 2"]
    assert first.names() == {*before, failed.name}
    assert first.image.read_bytes() == b"first"
    for suffix in (".json", ".seal.json", ".boot.json"):
        assert first.told(suffix)["sha256"] == digest(first.image)


def test_an_image_that_lacks_what_its_recipe_promises_leaves_the_older_one(
    first: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = first.names()
    first.content = b"second"
    monkeypatch.setattr(build, "check_image", lambda recipe, path: ["no module", "no daemon"])
    with pytest.raises(NotAsPromised, match="debian-12 lacks:\nno module\nno daemon") as raised:
        first.build()
    assert "debian-12.log" in raised.value.__notes__[0]
    assert first.names() == before
    assert first.image.read_bytes() == b"first"


def test_an_image_that_does_not_boot_leaves_the_older_one_with_its_own_evidence(
    first: Workbench,
) -> None:
    first.content, first.problems = b"second", ("bios: no word",)
    with pytest.raises(NotProven) as raised:
        first.build(proof=True)
    failed = first.output / "debian-12.failed.boot.json"
    assert str(failed) in raised.value.__notes__[0]
    assert json.loads(failed.read_bytes())["problems"] == ["bios: no word"]
    assert first.told(".boot.json")["sha256"] == digest(first.image)
    first.problems = ()
    first.build()
    assert not failed.exists()
    assert first.image.read_bytes() == b"second"
    assert "debian-12.qcow2.boot.json" not in first.names()


def test_killed_at_any_step_no_image_lies_beside_evidence_of_another(
    first: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def dying(name: str, at: int) -> None:
        true = getattr(Path, name)

        def step(self: Path, *arguments: object, **words: object) -> object:
            nonlocal calls
            if self.is_relative_to(first.output):
                calls += 1
                if calls == at:
                    raise Killed
            return true(self, *arguments, **words)

        patch.setattr(Path, name, step)

    for at in range(1, 200):
        first.content = b"%d" % at
        calls = 0
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "write_text", "mkdir", "rmdir"):
                dying(name, at)
            try:
                first.build(proof=True)
            except Killed:
                ended = True
            else:
                ended = False
        for suffix in (".json", ".seal.json", ".boot.json"):
            if first.image.with_name(first.image.name + suffix).exists():
                assert first.told(suffix)["sha256"] == digest(first.image), (at, suffix)
        if not ended:
            break
    assert 20 < at < 199
    assert not list(first.output.glob(".*"))


def test_a_proof_that_is_skipped_is_told(
    first: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert first.told(".json")["proven"] is True
    monkeypatch.setattr(build, "choose_accelerator", lambda *_: Accelerator.TCG)
    monkeypatch.setattr(build, "find_tools", lambda _: None)
    assert not first.build(proof=None).proven
    assert first.told(".json")["proven"] is False
    (line,) = caplog.messages
    assert line.startswith("the boot proof is skipped recipe=debian-12: KVM does not work here")


@pytest.mark.parametrize(
    ("accelerator", "asked", "proven"),
    [
        (Accelerator.KVM, None, True),
        (Accelerator.KVM, False, False),
        (Accelerator.KVM, True, True),
        (Accelerator.TCG, None, False),
        (Accelerator.TCG, True, True),
    ],
)
def test_an_image_is_proven_by_itself_where_kvm_works_and_elsewhere_when_asked(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    accelerator: Accelerator,
    asked: bool | None,
    proven: bool,
) -> None:
    monkeypatch.setattr(build, "choose_accelerator", lambda *_: accelerator)
    monkeypatch.setattr(build, "find_tools", lambda _: None)
    assert bench.build(proof=asked).proven is proven
    assert bench.told(".json")["proven"] is proven
    assert ("debian-12.qcow2.boot.json" in bench.names()) is proven
    bench.problems = ("bios: no word",)
    if proven:
        with pytest.raises(NotProven):
            bench.build(proof=asked)


def test_programs_that_a_proof_misses_are_told(
    first: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("imagebuild.proof_machine.SYSTEM_FOLDERS", "")
    assert not first.build(proof=None).proven
    (line,) = caplog.messages
    assert "qemu-utils" in line
    caplog.clear()
    assert not first.build(proof=False).proven
    assert caplog.messages == []


def test_an_image_asks_for_the_memory_in_which_it_was_proven(first: Workbench) -> None:
    asked = first.told(".json")["min_ram"]
    assert isinstance(asked, int)
    assert asked == load_recipe("debian-12").memory == 512
    here = Path("/x")
    guest = Guest("proof1", Firmware.BIOS, asked, here, here, here, here, None)
    words = argv(guest, Tools(here, None, None), Accelerator.KVM)
    assert words[words.index("-m") + 1] == str(asked)


@pytest.mark.parametrize(
    ("mark", "tight", "tmpfs", "told", "hinted"),
    [
        ("", "", True, "the .* MiB of memory that it worked in", True),
        ("", "", False, "/var/tmp/rackseed-image-", False),
        ("", "running", True, "cache/running/", False),
        (f"{PACKING_MARK}\n", "", True, "images$", False),
    ],
)
def test_the_folder_that_is_full_is_named(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    mark: str,
    tight: str,
    tmpfs: bool,
    told: str,
    hinted: bool,
) -> None:
    def free(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=0 if tight and tight in str(path) else 1 << 40)

    monkeypatch.setattr("shutil.disk_usage", free)
    bench.status, bench.tmpfs = 1, tmpfs
    bench.log = f"{mark}tar: x: Cannot write: No space left on device"
    with pytest.raises(DiskFull, match=f"debian-12: no room left in .*{told}") as raised:
        bench.build()
    assert bool(getattr(raised.value, "__notes__", ())) is hinted


def test_offline_without_a_kept_system_nothing_is_made(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be built offline") as raised:
        bench.build(offline=True)
    assert raised.value.__notes__ == ["build it once without --offline"]
    assert list(tmp_path.iterdir()) == []


def test_offline_a_kept_system_is_taken(
    first: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layer = tmp_path / "system.tar.zst"
    layer.write_bytes(b"layer")
    monkeypatch.setattr("imagebuild.layers.kept_system", lambda *_: layer)
    assert first.build(offline=True).skipped == "system"


def test_a_second_build_of_one_file_is_told_who_is_at_it(first: Workbench) -> None:
    with alone(first.image), pytest.raises(BadInput, match=r"images/debian-12\.qcow2: another"):
        first.build()
    assert not list(first.output.glob(".*"))
    first.build()
