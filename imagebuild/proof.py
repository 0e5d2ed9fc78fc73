"""Proves that a finished image boots: two copies, each with its own keys and id."""

import json
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from imagebuild.errors import NotProven, Stopped
from imagebuild.inside.disk import open_disk
from imagebuild.proof_machine import (
    Accelerator,
    Firmware,
    Guest,
    Tools,
    argv,
    choose_accelerator,
    find_tools,
)
from imagebuild.proof_seed import make_seed
from imagebuild.running import Child, Programs

COPIES = 2
GROWTH = 4 << 30
"""Bytes that a copy's disk is larger than the image, so that its root has room to grow."""
TIMEOUTS: Mapping[Accelerator, float] = {Accelerator.KVM: 300, Accelerator.TCG: 1500}
"""Seconds from power-on until the guest has turned itself off."""
TICK = 0.5
"""Seconds between two looks at whether the caller wants it stopped."""
MARK = "rackseed-proof "
CONSOLE_LINES = 12
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Boot:
    """What one copy said of its first boot."""

    firmware: Firmware
    seconds: float
    """From power-on until it was off again."""
    machine_id: str
    host_keys: tuple[str, ...]
    kernel: str
    root_bytes: int
    failed_units: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that copies of an image become machines of their own."""

    image: str
    """The file's name."""
    accelerator: str
    boots: tuple[Boot, ...]
    problems: tuple[str, ...]
    sha256: str = ""
    """Of the file."""

    @property
    def proven(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_json(self) -> Mapping[str, Any]:
        """What is written to IMAGE.boot.json."""
        return {
            "format": FORMAT,
            "image": self.image,
            "sha256": self.sha256,
            "proven": self.proven,
            "accelerator": self.accelerator,
            "problems": list(self.problems),
            "boots": [
                {
                    "firmware": boot.firmware.value,
                    "seconds": round(boot.seconds, 1),
                    "kernel": boot.kernel,
                    "host_keys": len(boot.host_keys),
                    "root_bytes": boot.root_bytes,
                    "failed_units": list(boot.failed_units),
                }
                for boot in self.boots
            ],
        }


def prove(
    image: Path,
    firmwares: Sequence[Firmware],
    programs: Programs,
    work: Path,
    accelerator: Accelerator | None = None,
    stopping: Event | None = None,
    *,
    memory: int,
) -> Proof:
    """Boot copies of a qcow2 or raw image, at least two, at least one by each firmware.

    `work` is a folder of the caller's; the consoles stay in it. Each copy has `memory` MiB. They
    run at the same time and are ended when `stopping` is set. Raises ToolMissing, Stopped.
    """
    tools = find_tools(firmwares)
    accelerator = accelerator or choose_accelerator(tools, work, programs.start)
    with open_disk(image) as disk:
        size, format_ = disk.data.size, disk.format
    chosen = [*firmwares, *firmwares][: max(COPIES, len(firmwares))]
    guests = [
        _guest(f"proof{number}", firmware, memory, image, format_, size, tools, work, programs)
        for number, firmware in enumerate(chosen, 1)
    ]
    try:
        boots = _run(guests, size, tools, accelerator, programs, stopping or Event())
    finally:
        for guest in guests:
            guest.disk.unlink(missing_ok=True)
    return Proof(image.name, accelerator.name.lower(), tuple(boots), tuple(_problems(boots)))


def demand(proof: Proof) -> Proof:
    """The same proof. Raises NotProven with every problem."""
    if not proof.proven:
        raise NotProven("\n".join([f"{proof.image} did not prove itself:", *proof.problems]))
    return proof


def write_proof(proof: Proof, path: Path) -> None:
    """Write the report whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(proof.as_json(), indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def proof_path(image: Path) -> Path:
    """IMAGE.boot.json beside the image."""
    return image.with_name(f"{image.name}.boot.json")


def _guest(
    name: str,
    firmware: Firmware,
    memory: int,
    image: Path,
    format_: str,
    size: int,
    tools: Tools,
    work: Path,
    programs: Programs,
) -> Guest:
    disk = work / f"{name}.qcow2"
    source = ["-b", str(image.resolve()), "-F", format_]
    programs.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *source, str(disk), str(size + GROWTH)]
    )
    seed = make_seed(work / f"{name}.seed", f"{name}-{secrets.token_hex(4)}", programs.run)
    variables = None
    if firmware is Firmware.UEFI and tools.ovmf_vars is not None:
        variables = work / f"{name}.vars"
        shutil.copyfile(tools.ovmf_vars, variables)
    console, report = work / f"{name}.console", work / f"{name}.report"
    return Guest(name, firmware, memory, disk, seed, console, report, variables)


def _run(
    guests: Sequence[Guest],
    size: int,
    tools: Tools,
    accelerator: Accelerator,
    programs: Programs,
    stopping: Event,
) -> list[Boot]:
    with ExitStack() as stack:
        begun = time.monotonic()
        running: list[tuple[Guest, Child]] = []
        for guest in guests:
            child = programs.start(
                argv(guest, tools, accelerator), stderr=guest.console.with_suffix(".stderr")
            )
            stack.callback(child.stop)
            running.append((guest, child))
        seconds = _wait_for_all(running, begun, TIMEOUTS[accelerator], stopping)
        return [_boot(guest, seconds[guest.name], size) for guest, _ in running]


def _wait_for_all(
    running: Sequence[tuple[Guest, Child]], begun: float, timeout: float, stopping: Event
) -> Mapping[str, float]:
    """How long each guest ran; one that takes too long is ended."""
    seconds: dict[str, float] = {}
    while left := [one for one in running if one[0].name not in seconds]:
        if stopping.is_set():
            raise Stopped("the boot proof was stopped")
        for guest, child in left:
            with suppress(TimeoutError):
                child.wait(TICK)
                seconds[guest.name] = time.monotonic() - begun
            if time.monotonic() - begun >= timeout and guest.name not in seconds:
                child.stop()
                seconds[guest.name] = time.monotonic() - begun
    return seconds


def _boot(guest: Guest, seconds: float, size: int) -> Boot:
    said = read_report(_text(guest.report) + _text(guest.console))
    console = _text(guest.console) or _text(guest.console.with_suffix(".stderr"))
    return judge(said, guest.firmware, seconds, size, console)


def read_report(text: str) -> Mapping[str, tuple[str, ...]]:
    """What the guest said, by key."""
    said: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK)
        if mark:
            key, _, value = rest.strip().partition(" ")
            said[key] = (*said.get(key, ()), value)
    return said


def judge(
    said: Mapping[str, tuple[str, ...]],
    firmware: Firmware,
    seconds: float,
    size: int,
    console: str = "",
) -> Boot:
    """What is wrong with one boot of an image of `size` bytes."""
    problems = []
    root = int(_first(said, "root-kib") or 0) << 10
    if "end" not in said:
        problems.append(f"no word from cloud-init within {seconds:.0f} s; the console ends with")
        problems += [f"    {line}" for line in console.splitlines()[-CONSOLE_LINES:]]
    else:
        problems += _complaints(said, firmware)
        if root <= size:
            problems.append(f"its root did not grow: {root} bytes on a larger disk")
    return Boot(
        firmware=firmware,
        seconds=seconds,
        machine_id=_first(said, "machine-id"),
        host_keys=said.get("host-key", ()),
        kernel=_first(said, "kernel"),
        root_bytes=root,
        failed_units=said.get("failed-unit", ()),
        problems=tuple(problems),
    )


def _complaints(said: Mapping[str, tuple[str, ...]], firmware: Firmware) -> list[str]:
    found = [f"cloud-init: {error}" for error in _errors(_first(said, "cloud-init"))]
    found += [f"{unit} failed" for unit in said.get("failed-unit", ())]
    identity = _first(said, "machine-id")
    if len(identity) != 32 or not set(identity) <= set("0123456789abcdef"):
        found.append("it has no machine-id")
    if not said.get("host-key"):
        found.append("it has no SSH host keys")
    if _first(said, "firmware") != firmware.value:
        found.append(f"it was started by {_first(said, 'firmware')}, expected {firmware.value}")
    return found


def _errors(text: str) -> list[str]:
    try:
        errors = json.loads(text)["v1"]["errors"]
    except (ValueError, KeyError, TypeError):
        return ["its result cannot be read"]
    return [str(error) for error in errors]


def _problems(boots: Sequence[Boot]) -> list[str]:
    found = [f"{boot.firmware.value}: {text}" for boot in boots for text in boot.problems]
    identities = [boot.machine_id for boot in boots if boot.machine_id]
    keys = [key for boot in boots for key in boot.host_keys]
    if len(set(identities)) < len(identities):
        found.append("two copies have the same machine-id")
    if len(set(keys)) < len(keys):
        found.append("two copies have the same SSH host key")
    return found


def _first(said: Mapping[str, tuple[str, ...]], key: str) -> str:
    return said.get(key, ("",))[0]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
