"""The story of one image: planned, built in namespaces of its own, verified, given its name."""

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagebuild import beside, layers, pool
from imagebuild.buildlog import is_full, reasons
from imagebuild.errors import (
    BuildFailed,
    DiskFull,
    NotAsPromised,
    NotProven,
    NotSealed,
    SourceUnavailable,
    Stopped,
    ToolMissing,
)
from imagebuild.evidence import read_contents, write_evidence
from imagebuild.gpucheck import check_image
from imagebuild.hostapt import with_host_mirrors
from imagebuild.machine import check_tools
from imagebuild.making import describe
from imagebuild.nosync import suppress_sync
from imagebuild.phases import Event, Follower, Phase, read_times, write_times
from imagebuild.plan import PACKAGE, BuildPlan, Machine, Settings, plan_build
from imagebuild.proof import demand, proof_path, prove, write_proof
from imagebuild.proof_machine import (
    Accelerator,
    Firmware,
    choose_accelerator,
    find_tools,
)
from imagebuild.recipe import BlockDevice, Recipe
from imagebuild.repositories import Fetch, State, fetch, repository_state, state_urls
from imagebuild.running import Programs
from imagebuild.seal.report import SealReport
from imagebuild.seal.verify import report_path, verify_image, write_report
from imagebuild.systems import Packaging
from imagebuild.versions import versions
from imagebuild.workshop import Workshop, alone, workshop

log = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two looks at a running build."""
DIGESTS = ("sha256", "sha512")
CHUNK = 1 << 20
TIGHT = 64 << 20
"""Bytes free below which a file system is taken for the full one."""

FIRMWARES: Mapping[BlockDevice, Sequence[Firmware]] = {
    BlockDevice.GPT: (Firmware.BIOS, Firmware.UEFI),
    BlockDevice.MBR: (Firmware.BIOS,),
}

Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Way:
    """How to build: what is the same for every recipe of one call."""

    settings: Settings
    machine: Machine
    programs: Programs
    watch: Watch = lambda event: None
    stopping: threading.Event = field(default_factory=threading.Event)
    fetch: Fetch = fetch
    reuse: bool = True
    """Take what earlier builds kept."""
    proof: bool | None = None
    """Boot what was built before it gets its name; None: where KVM makes that quick."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished image."""

    recipe: Recipe
    path: Path
    size: int
    """Bytes of the file."""
    sha256: str
    seconds: float
    skipped: str
    report: SealReport
    proven: bool
    """Copies of it booted."""


def build_image(recipe: Recipe, way: Way) -> Built:
    """Build one image. Its file has its name when it is whole, sealed and on disk, or never.

    Raises BadInput, BuildFailed, NotSealed, NotAsPromised, NotProven, SourceUnavailable,
    ToolMissing, DiskFull, Stopped.
    """
    check_tools(recipe, way.machine)
    settings = with_host_mirrors(way.settings, recipe)
    way = replace(way, settings=settings)
    draft = plan_build(recipe, settings, way.machine)
    if settings.offline:
        check_kept(draft)
    for folder in (settings.output, settings.cache / "layers", settings.cache / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
    left = [draft.partial, beside.apart(draft.final)]
    places = workshop(settings.cache, left, in_memory=draft.tmpfs > 0)
    with alone(draft.final), places as shop:
        story = _Story(recipe, way, placed(draft, way.machine, shop), shop)
        kept = story.choose()
        try:
            story.run(layers.with_layers(story.plan, kept))
        finally:
            layers.keep(kept)  # what is whole is of use, however the rest ended
        report = story.verify()
        proven = story.prove(report.sha256)
        built = story.finish(report, kept, proven=proven)
        story.remember_times(kept)
    return built


def check_kept(plan: BuildPlan) -> None:
    """Raises SourceUnavailable for a build that is offline and has no system to take."""
    recipe, folder = plan.recipe, plan.settings.cache / "layers"
    if layers.kept_system(plan, keys_of(plan, ""), folder) is None:
        error = SourceUnavailable(
            f"{recipe.name} cannot be built offline: no earlier build of the same recipe, "
            f"elements and packages is kept in {folder}"
        )
        error.add_note("build it once without --offline")
        raise error


def keys_of(plan: BuildPlan, state: str) -> layers.Keys:
    """What a build of this plan takes or leaves is kept under; `state` of its repositories."""
    base = plan.settings.local_base
    return layers.keys(plan, state, layers.digest_file(base) if base else "")


def placed(draft: BuildPlan, machine: Machine, shop: Workshop) -> BuildPlan:
    """The plan with the places that this build has."""
    settings = replace(draft.settings, work=shop.work, archives=shop.folder / "apt")
    return plan_build(draft.recipe, settings, machine)


class _Story:
    """One build under way: its plan, its places, and when its phases began."""

    def __init__(self, recipe: Recipe, way: Way, plan: BuildPlan, shop: Workshop) -> None:
        self.recipe = recipe
        self.way = way
        self.plan = plan
        self.shop = shop
        self.log = plan.settings.output / f"{recipe.name}.log"
        self.evidence = beside.apart(plan.final) / plan.final.name
        """Where the files are made that will lie beside the image."""
        self.skipped = ""
        self.state = State("")
        self._began = time.monotonic()
        self._phases: list[tuple[Phase, float]] = []
        self._times = read_times(self._times_path())

    def choose(self) -> layers.Layers:
        """What earlier builds kept that this one takes."""
        self.came_to(Phase.ASKING)
        settings = self.plan.settings
        if not settings.offline:
            urls, named = state_urls(self.recipe, settings), settings.mirror is not None
            self.state = repository_state(urls, self.way.fetch, named=named)
        wanted = keys_of(self.plan, self.state.key)
        if not self.way.reuse:
            wanted = replace(wanted, state="")
        kept = layers.choose(self.plan, wanted, settings.cache / "layers", self.shop.folder)
        layers.prepare(self.plan, kept)
        self.skipped = kept.skipped
        log.info("build recipe=%s kept=%s", self.recipe.name, kept.skipped or "nothing")
        return kept

    def run(self, plan: BuildPlan) -> None:
        """Run diskimage-builder and qemu-img. Raises BuildFailed, DiskFull, Stopped."""
        job = self.shop.job
        job.write_text(plan.script, encoding="utf-8")
        job.chmod(0o600)
        self.log.unlink(missing_ok=True)
        beside.forget_failed(plan.final)
        deb = self.recipe.system.packaging is Packaging.DEB
        packages = plan.settings.cache / "packages" / f"{self.recipe.system.name}"
        archives = self.shop.folder / "apt"
        if deb:
            pool.lend(packages, archives)
        follower = Follower(self.log)
        child = self.way.programs.start(
            enter(plan, job), stdout=self.log, stderr=self.log, prepare=suppress_sync
        )
        try:
            status = None
            while status is None:
                status = _waited(child.wait)
                for phase in follower.read():
                    self.came_to(phase)
                if self.way.stopping.is_set():
                    raise Stopped(f"{self.recipe.name} was stopped")
        finally:
            child.stop()
            if deb:
                pool.take_back(packages, archives)
        if status:
            self.fail()

    def fail(self) -> None:
        """Raises what a failed run's log tells."""
        if is_full(self.log):
            where = self.full_folder()
            if self.plan.tmpfs and where == self.shop.work:
                room = f"no room left in the {self.plan.tmpfs} MiB of memory that it worked in"
                error = DiskFull(f"{self.recipe.name}: {room}")
                error.add_note("--no-tmpfs works on disk instead")
                raise error
            raise DiskFull(f"{self.recipe.name}: no room left in {where}")
        raise BuildFailed(self.recipe.name, self.log, reasons(self.log))

    def full_folder(self) -> Path:
        """The folder to which the phase that failed was writing, told apart by what is free."""
        if self._phases[-1][0] is Phase.PACKING:
            return self.plan.settings.output
        work, folder = self.shop.work, self.shop.folder
        seen = (folder,) if self.plan.tmpfs else (work, folder)  # its tmpfs ended with the build
        return next((one for one in seen if shutil.disk_usage(one).free < TIGHT), work)

    def verify(self) -> SealReport:
        """Look into the finished file. Raises NotSealed with every finding, NotAsPromised."""
        self.came_to(Phase.VERIFYING)
        plan = self.plan
        beside.make_apart(plan.final)
        report = replace(verify_image(plan.partial), image=plan.final.name)
        write_report(report, report_path(self.evidence))
        if not report.sealed:
            kept = beside.failed(plan.final, report_path(self.evidence))
            found = [*map(str, report.findings), *(f"not looked into: {p}" for p in report.unread)]
            error = NotSealed("\n".join([f"{self.recipe.name} is not sealed:", *found]))
            error.add_note(f"the report is {kept}; the image was removed")
            raise error
        if missing := check_image(self.recipe, plan.partial):
            lacking = NotAsPromised("\n".join([f"{self.recipe.name} lacks:", *missing]))
            lacking.add_note(f"the image was removed; {self.log} tells how it was made")
            raise lacking
        return report

    def prove(self, sha256: str) -> bool:
        """Boot copies of the finished file; False when that was skipped.

        Raises NotProven with every problem.
        """
        wanted, plan = self.way.proof, self.plan
        firmwares = FIRMWARES[self.recipe.block_device]
        work = self.shop.folder / "proof"
        work.mkdir()
        if wanted is None:
            try:
                tools = find_tools(firmwares)
            except ToolMissing as error:
                return self.skip_proof("; ".join([str(error), *error.__notes__]))
            wanted = choose_accelerator(tools, work, self.way.programs.start) is Accelerator.KVM
            if not wanted:
                return self.skip_proof("KVM does not work here; --boot-proof emulates, slowly")
        if not wanted:
            return False
        self.came_to(Phase.PROVING)
        stopping = self.way.stopping
        memory = self.recipe.memory
        proof = prove(
            plan.partial, firmwares, self.way.programs, work, stopping=stopping, memory=memory
        )
        proof = replace(proof, image=plan.final.name, sha256=sha256)
        write_proof(proof, proof_path(self.evidence))
        if not proof.proven:
            kept = beside.failed(plan.final, proof_path(self.evidence))
            try:
                demand(proof)
            except NotProven as error:
                error.add_note(f"the report is {kept}; the image was removed")
                raise
        return True

    def skip_proof(self, why: str) -> bool:
        """Tell that the image is finished without it."""
        log.warning("the boot proof is skipped recipe=%s: %s", self.recipe.name, why)
        return False

    def finish(self, report: SealReport, kept: layers.Layers, *, proven: bool) -> Built:
        """Write what lies beside, bring all to disk, and give it its name."""
        plan = self.plan
        digests = digest(plan.partial)
        size = plan.partial.stat().st_size
        for name, value in zip(DIGESTS, digests, strict=True):
            file = self.evidence.with_name(f"{plan.final.name}.{name}")
            file.write_text(f"{value}  {plan.final.name}\n", encoding="ascii")
        named = dict(zip(DIGESTS, digests, strict=True))
        self.write_facts(named, size, proven=proven)
        self.write_origin(named, kept.taken)
        beside.publish(plan.partial, plan.final)
        return Built(
            recipe=self.recipe,
            path=plan.final,
            size=size,
            sha256=digests[0],
            seconds=time.monotonic() - self._began,
            skipped=kept.skipped,
            report=report,
            proven=proven,
        )

    def write_facts(self, digests: Mapping[str, str], size: int, *, proven: bool) -> None:
        """What whoever publishes the image must know, beside it."""
        told = {
            "name": self.recipe.name,
            "title": self.recipe.title,
            "properties": dict(self.recipe.properties),
            "min_ram": self.recipe.memory,
            "proven": proven,
            "size": size,
            **digests,
        }
        path = self.evidence.with_name(f"{self.evidence.name}.json")
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    def write_origin(self, digests: Mapping[str, str], taken: str) -> None:
        """What is in the image and how it was made, beside it."""
        plan, now = self.plan, datetime.now(UTC)
        begun = now - timedelta(seconds=time.monotonic() - self._began)
        contents = read_contents(plan.partial)
        used = versions(plan, self.way.machine.path, self.way.programs.run)
        making = describe(plan, begun, now, self.state, versions=used, layer=taken)
        write_evidence(plan.final.name, self.evidence.parent, digests, contents, making)

    def came_to(self, phase: Phase) -> None:
        """Tell whoever watches, with the time that the phase took before."""
        self._phases.append((phase, time.monotonic()))
        typical = self._times.get(self._times_key(), {}).get(phase.value)
        seconds = time.monotonic() - self._began
        event = Event(self.recipe.name, phase, typical, self.skipped, seconds=seconds)
        self.way.watch(event)

    def remember_times(self, kept: layers.Layers) -> None:
        """For the next build's typical times."""
        ends = [since for _, since in self._phases[1:]] + [time.monotonic()]
        spent: dict[Phase, float] = {}
        for (phase, since), end in zip(self._phases, ends, strict=True):
            spent[phase] = spent.get(phase, 0.0) + end - since
        write_times(self._times_path(), self._times_key(), spent)

    def _times_path(self) -> Path:
        return self.way.settings.cache / "times.json"

    def _times_key(self) -> str:
        return f"{self.recipe.name}+{self.skipped}" if self.skipped else self.recipe.name


def enter(plan: BuildPlan, job: Path) -> tuple[str, ...]:
    """The call that runs a plan's job in namespaces of its own."""
    return (
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
        "--mount-proc", "--uts", "--ipc",
        "/bin/sh", str(PACKAGE / "enter.sh"),
        str(plan.settings.work),
        str(plan.tmpfs),
        "private" if plan.private_devices else "shared",
        str(job),
    )  # fmt: skip


def digest(path: Path) -> Sequence[str]:
    """The digests of a file in one reading."""
    found = [hashlib.new(name) for name in DIGESTS]
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for one in found:
                one.update(chunk)
    return [one.hexdigest() for one in found]


def _waited(wait: Callable[[float], int]) -> int | None:
    try:
        return wait(TICK)
    except TimeoutError:
        return None
