"""Which NVIDIA driver branch still drives which generation of GPUs.

Sources: NVIDIA's "Data Center Drivers" support matrix and "Legacy GPU" list
(docs.nvidia.com/datacenter/tesla/drivers, www.nvidia.com/en-us/drivers/unix/legacy-gpu), and the
release notes named at each branch.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Branch:
    """A driver branch."""

    number: int
    oldest: str
    newest: str
    source: str
    """Where NVIDIA says so."""
    open_modules: bool = False
    """Has the open kernel modules in a state for general use."""


GENERATIONS: Mapping[str, str] = {
    "Fermi": "M2050, M2090, GeForce 400 and 500",
    "Kepler": "K20m, K40, K80, GeForce 600 and 700",
    "Maxwell": "M40, M60, GeForce 750 and 900",
    "Pascal": "P4, P40, P100, GeForce 10",
    "Volta": "V100",
    "Turing": "T4, Quadro RTX, GeForce 16 and 20",
    "Ampere": "A2, A10, A30, A40, A100, GeForce 30",
    "Ada": "L4, L40, L40S, GeForce 40",
    "Hopper": "H100, H200, GH200",
    "Blackwell": "B100, B200, GB200, RTX PRO 6000, GeForce 50",
}
"""Oldest first, with examples."""

OPEN_FROM = "Turing"
"""The oldest with the GSP that the open kernel modules need: NVIDIA's README of 580,
"Open Linux Kernel Modules"."""

MATRIX = "CUDA Toolkit, Driver, and Architecture Matrix: 580 is the last for Volta and older"
"""Of NVIDIA's Data Center Drivers."""

BRANCHES: Mapping[int, Branch] = {
    branch.number: branch
    for branch in (
        Branch(390, "Fermi", "Volta", "README 390.157, appendix A: last for Fermi"),
        Branch(470, "Kepler", "Ampere", "release notes 470.256.02: last for Kepler"),
        Branch(535, "Maxwell", "Hopper", "Data Center Driver 535 release notes", True),
        Branch(550, "Maxwell", "Hopper", "Data Center Driver 550 release notes", True),
        Branch(570, "Maxwell", "Blackwell", "Data Center Driver 570 release notes", True),
        Branch(
            580,
            "Maxwell",
            "Blackwell",
            "Data Center Driver 580 release notes: last for Maxwell, Pascal and Volta",
            True,
        ),
        Branch(590, "Turing", "Blackwell", "Data Center Driver 590 release notes", True),
        Branch(595, "Turing", "Blackwell", MATRIX, True),
        Branch(610, "Turing", "Blackwell", MATRIX, True),
        Branch(615, "Turing", "Blackwell", MATRIX, True),
    )
}


def generations(branch: int, *, open_modules: bool) -> tuple[str, ...]:
    """What a branch drives with NVIDIA's open or its proprietary kernel modules, oldest first.

    >>> generations(470, open_modules=False)[:2]
    ('Kepler', 'Maxwell')
    >>> generations(580, open_modules=True)[0]
    'Turing'
    """
    names = list(GENERATIONS)
    known = BRANCHES[branch]
    first = names.index(known.oldest)
    if open_modules:
        first = max(first, names.index(OPEN_FROM))
    return tuple(names[first : names.index(known.newest) + 1])
