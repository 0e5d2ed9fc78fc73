"""Every installer's answer by one name."""

from dataclasses import replace
from pathlib import Path

import pytest

from kickstarts import installers
from kickstarts.errors import UnknownSystem
from kickstarts.plan import Packages
from kickstarts.roles import roles
from kickstarts.systems import SYSTEMS
from kickstarts.values import Secret
from tests.unit.kickstarts.plans_deb import HASH, TOKEN, plain


def plan_of(system):
    plan = plain(system)
    if installers.INSTALLERS[system] is not installers.XCPNG:
        return plan
    packages = Packages(tree="http://mirror.example.org/xcp-ng/")
    return replace(plan, packages=packages, root_password=Secret(HASH))


@pytest.mark.parametrize("system", installers.INSTALLERS)
def test_each_system_has_an_answer_that_its_installer_takes(system):
    text = installers.answer(plan_of(system))
    reading = installers.read(text, system)
    assert reading.findings == ()
    lines = text.splitlines()
    assert len(reading.scripts) >= 1
    for script in reading.scripts:
        head = lines[script.line - 1] if script.line else text
        assert script.section in head or head.strip() == "- |"
        assert script.text.strip()


@pytest.mark.parametrize("system", installers.INSTALLERS)
def test_nobody_sees_a_secret_in_what_is_shown(system):
    text = installers.answer(plan_of(system), masked=True)
    assert TOKEN not in text
    assert HASH not in text


@pytest.mark.parametrize(
    ("system", "old", "new"),
    [
        ("debian-12", "time/zone", "time/zones"),
        ("ubuntu-24.04", "  timezone:", "  timezones:"),
        ("xcp-ng-8.3", "keymap>", "keymaps>"),
        ("xcp-ng-8.3", "END-OF-ANSWER", "END"),
        ("rocky-9", "timezone ", "timezones "),
    ],
)
def test_what_an_installer_would_not_take_is_told(system, old, new):
    text = installers.answer(plan_of(system))
    assert old in text
    assert installers.read(text.replace(old, new), system).findings


@pytest.mark.parametrize("system", installers.INSTALLERS)
def test_each_system_was_read_by_a_person(system):
    folder = Path(__file__).parents[2] / "golden" / "kickstarts" / system
    kept = {path.stem for path in folder.iterdir()}
    if system in SYSTEMS:
        cloud = set(roles()) if SYSTEMS[system].cloud else {"base"}
        assert kept == cloud
    else:
        assert kept == {"plain", "full"}


def test_no_two_installers_share_a_system():
    tables = ("systems", "preseed", "autoinstall", "xcpng")
    assert len(installers.INSTALLERS) == sum(
        len(getattr(installers, name).SYSTEMS) for name in tables
    )


def test_an_unknown_system_is_told_with_the_nearest():
    with pytest.raises(UnknownSystem) as raised:
        installers.answer(plain("debain-12"))
    assert raised.value.__notes__ == ["did you mean 'debian-12'?"]
