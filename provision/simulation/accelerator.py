"""Finds out how virtual processors can run here, and how many machines at once."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.errors import ProgramFailed
from provision.simulation.guests import GUEST_MEMORY_MIB, Accelerator

KVM = Path("/dev/kvm")
PROBE_LIMIT = 6.0
"""Seconds for a kernel to print its first line and stop; with a working KVM it takes one."""
FIRST_LINE = "Linux version"

OVERHEAD_MIB = 192
"""What QEMU itself takes beside its guest's memory, at most."""
KEPT_FREE = 0.25
"""Share of the available memory that stays free."""
TCG_PER_CORE = 1
"""Without KVM each guest keeps a core busy; more of them only delay each other."""

Run = Callable[[Sequence[str], float], str]
"""Runs one program, at most so many seconds, and returns what it wrote."""


def choose(qemu: Path, kernel: Path, run: Run) -> Accelerator:
    """KVM if a kernel really starts with it, else TCG.

    That /dev/kvm exists says little: inside some virtual machines guests stop before their
    first word, or never start.
    """
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Accelerator.TCG
    try:
        said = run(probe_argv(qemu, kernel), PROBE_LIMIT)
    except ProgramFailed:
        return Accelerator.TCG
    return Accelerator.KVM if FIRST_LINE in said else Accelerator.TCG


def probe_argv(qemu: Path, kernel: Path) -> list[str]:
    """A kernel without a root file system: it starts, finds none, and ends QEMU by restarting."""
    return [
        str(qemu),
        *("-machine", "pc", *Accelerator.KVM.value, "-m", "256"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", "stdio", "-kernel", str(kernel)),
        *("-append", "console=ttyS0 panic=-1"),
    ]


def guests_at_once(accelerator: Accelerator, cores: int, available_mib: int) -> int:
    """How many machines run at the same time; at least one."""
    by_memory = int(available_mib * (1 - KEPT_FREE)) // (GUEST_MEMORY_MIB + OVERHEAD_MIB)
    if accelerator is Accelerator.KVM:
        return max(1, by_memory)
    return max(1, min(by_memory, max(2, cores * TCG_PER_CORE)))


def available_memory_mib(meminfo: Path = Path("/proc/meminfo")) -> int:
    """What the kernel thinks can be used without swapping (proc(5), MemAvailable)."""
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) // 1024
    return GUEST_MEMORY_MIB
