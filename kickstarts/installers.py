"""Every installer's answer by one name: which one it is follows from the plan's system."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Protocol

from kickstarts import autoinstall, preseed, questions, render, systems, validate, xcpng, yamlcheck
from kickstarts.errors import UnknownSystem
from kickstarts.plan import InstallPlan
from kickstarts.validate import Reading, Script, written


class Render(Protocol):
    """From a plan to an answer's text; `masked` for the eyes of people."""

    def __call__(self, plan: InstallPlan, *, masked: bool = False) -> str:
        """Raises BadValue, UnknownSystem."""
        ...


@dataclass(frozen=True, slots=True)
class Installer:
    """A program that installs systems unattended."""

    answer: str
    """What its answer is called."""
    render: Render
    read: Callable[[str, str], Reading]
    """A text, and the name of its system: what the installer would not take, and its scripts."""


def _kickstart(text: str, name: str) -> Reading:
    return validate.read(text, systems.system(name).syntax)


def _preseed(text: str, _: str) -> Reading:
    findings = tuple(questions.validate(text))
    return Reading(findings, questions.scripts(text), questions.packages(text))


def _autoinstall(text: str, _: str) -> Reading:
    findings = tuple(yamlcheck.validate(text))
    if findings:
        return Reading(findings, ())
    return Reading((), yamlcheck.scripts(text), yamlcheck.packages(text))


def _xcpng(text: str, _: str) -> Reading:
    findings = tuple(xcpng.validate(xcpng.answer_within(text)))
    return Reading(findings, (Script("answerfile_generator", 0, "/bin/bash", text),))


KICKSTART = Installer("kickstart", render.render, _kickstart)
PRESEED = Installer("preseed", preseed.render, _preseed)
AUTOINSTALL = Installer("autoinstall", autoinstall.render, _autoinstall)
XCPNG = Installer("answerfile", xcpng.render, _xcpng)

INSTALLERS: Mapping[str, Installer] = {
    **dict.fromkeys(systems.SYSTEMS, KICKSTART),
    **dict.fromkeys(preseed.SYSTEMS, PRESEED),
    **dict.fromkeys(autoinstall.SYSTEMS, AUTOINSTALL),
    **dict.fromkeys(xcpng.SYSTEMS, XCPNG),
}
"""By the names of systems, which no two installers share."""


def installer(name: str) -> Installer:
    """What installs a system.

    Raises UnknownSystem.
    """
    if name in INSTALLERS:
        return INSTALLERS[name]
    error = UnknownSystem(f"no answer is known for '{name}', expected {', '.join(INSTALLERS)}")
    if near := get_close_matches(name, INSTALLERS, 1):
        error.add_note(f"did you mean '{near[0]}'?")
    raise error


def answer(plan: InstallPlan, *, masked: bool = False) -> str:
    """The answer of one host, for the installer of its system.

    Raises BadValue, UnknownSystem.
    """
    return installer(plan.system).render(plan, masked=masked)


def read(text: str, name: str) -> Reading:
    """An answer in the hands of those who will read it; with the scripts that its scripts write.

    Raises UnknownSystem.
    """
    reading = installer(name).read(text, name)
    later = (each for script in reading.scripts for each in written(script))
    return replace(reading, scripts=(*reading.scripts, *later))
