"""Whatever a value holds, it is refused, or the answer has the same lines and sections."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kickstarts import installers
from kickstarts.errors import BadValue
from kickstarts.plan import (
    Address,
    Bond,
    DiskChoice,
    DiskLayout,
    InstallPlan,
    Packages,
    Repository,
    SecretsSource,
    User,
)
from kickstarts.roles import roles
from kickstarts.roles.base import Gpu
from kickstarts.values import Secret
from tests.unit.kickstarts.plans import CLOUD, HASH, KEY, PIN, SECRETS_URL, sample
from tests.unit.kickstarts.plans_deb import plain

TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789-_x"
HOSTILE = (
    *("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\x1b[2J"),
    *("'", '"', "`", "$(id)", "${x}", "\\", "\\n", "\\012", "{{ x }}", "{% raw %}", "#", ";"),
    *("%end", "\n%end\n%pre\nid\n%end\n", "\n%include /etc/passwd", "]]>", "</root-password>"),
    *("END", "\nEND\n", "\nEND-OF-ANSWER\n", "END_OF_STEP", ": ", "\n- ", "&a", "*a", "!!x", "|"),
    *(" ", "\t", "-", "--", " --password=x", ",", "=", "/", "..", "%0a", "é", "\uff0f", "\u202e"),
    *("&&", "<!--", ">", "0"),
)  # fmt: skip


def plan_of(system: str) -> InstallPlan:
    if system in ("xcp-ng-8.2", "xcp-ng-8.3", "xenserver-8"):
        packages = Packages(tree="http://mirror.example.org/xcp-ng/")
        return replace(plain(system), packages=packages, root_password=Secret(HASH))
    return plain(system)


def with_user(plan: InstallPlan, **changes: object) -> InstallPlan:
    return replace(plan, administrators=(replace(plan.administrators[0], **changes),))


def with_network(plan: InstallPlan, **changes: object) -> InstallPlan:
    return replace(plan, network=replace(plan.network, **changes))


def with_packages(plan: InstallPlan, **changes: object) -> InstallPlan:
    return replace(plan, packages=replace(plan.packages, **changes))


SPOTS: Mapping[str, tuple[str, Callable[[InstallPlan, str], InstallPlan]]] = {
    **{
        name: (base, lambda plan, text, name=name: replace(plan, **{name: text}))
        for name, base in {
            "host": "node7", "domain": "cloud.example.org", "time_zone": "Europe/Berlin",
            "locale": "de_DE.UTF-8", "keyboard": "de-nodeadkeys", "log_host": "10.20.0.3",
        }.items()
    },
    "report_url": (
        f"http://10.20.0.3/report/{TOKEN}", lambda p, t: replace(p, report_url=Secret(t))
    ),
    "secrets_url": (
        f"https://10.20.0.3/answer/{TOKEN}",
        lambda p, t: replace(p, secrets=SecretsSource(Secret(t), PIN)),
    ),
    "secrets_pin": (
        PIN.reveal(),
        lambda p, t: replace(p, secrets=SecretsSource(Secret(SECRETS_URL), Secret(t))),
    ),
    "time_server": ("ntp.example.org", lambda p, t: replace(p, time_servers=(t,))),
    "root_password": (HASH, lambda p, t: replace(p, root_password=Secret(t))),
    "user": ("ada", lambda p, t: replace(p, administrators=(User(t, (KEY,)),))),
    "full_name": ("Ada L.", lambda p, t: with_user(p, full_name=t)),
    "key": (KEY, lambda p, t: with_user(p, keys=(t,))),
    "password": (HASH, lambda p, t: with_user(p, password=Secret(t))),
    "serial": ("S3Z1NX0K", lambda p, t: replace(p, disks=DiskLayout(DiskChoice.SERIAL, (t,)))),
    "path": (
        "/dev/disk/by-id/wwn-0x5",
        lambda p, t: replace(p, disks=DiskLayout(DiskChoice.PATH, (t,))),
    ),
    "mac": ("52:54:00:aa:00:01", lambda p, t: with_network(p, mac=t)),
    "bond": ("bond0", lambda p, t: with_network(p, bond=Bond(t, ("eno1", "eno2")))),
    "bond port": ("eno1", lambda p, t: with_network(p, bond=Bond("bond0", (t, "eno2")))),
    "bond mode": ("802.3ad", lambda p, t: with_network(p, bond=Bond("bond0", ("a", "b"), t))),
    "other port": (
        "52:54:00:aa:00:31",
        lambda p, t: with_network(p, more=(Address(IPv4Interface("192.0.2.5/24"), t),)),
    ),
    "tree": ("http://mirror.example.org/os/", lambda p, t: with_packages(p, tree=t)),
    "package": ("vim-enhanced", lambda p, t: with_packages(p, more=(t,))),
    "repository": (
        "extra",
        lambda p, t: with_packages(p, repositories=(Repository(t, "http://h.example.org/x/"),)),
    ),
    "repository url": (
        "http://h.example.org/x/",
        lambda p, t: with_packages(p, repositories=(Repository("extra", t),)),
    ),
}  # fmt: skip
ROLE_SPOTS: Mapping[str, tuple[str, Callable[[str], InstallPlan]]] = {
    "cpu_models": (
        "Haswell,Broadwell",
        lambda t: with_cloud("compute", options=(("cpu_mode", "custom"), ("cpu_models", t))),
    ),
    "region": ("RegionOne", lambda t: with_cloud("controller", options=(("region", t),))),
    "alias": ("K20m", lambda t: with_cloud("gpu", gpus=(Gpu(t, "10de", "1028"),))),
    "vendor": ("10de", lambda t: with_cloud("gpu", gpus=(Gpu("K20m", t, "1028"),))),
    "controller": ("ctl01.example.org", lambda t: with_cloud("compute", controller=t)),
}


def with_cloud(role: str, **changes: object) -> InstallPlan:
    cloud = replace(CLOUD, full_name="cmp01.cloud.example.org", **changes)
    return replace(sample("rocky-9", role), role=roles()[role].of(cloud))


def outline(text: str, system: str) -> tuple[object, ...]:
    """What no value may change."""
    reading = installers.read(text, system)
    lines = text.splitlines()
    first = tuple(line.split(" ")[0].split("=")[0] for line in lines if not line.startswith(" "))
    sections = tuple((each.section, each.line) for each in reading.scripts)
    return reading.findings, len(lines), text.count("\n"), sections, len(first)


@cache
def expected(system: str, spot: str) -> tuple[object, ...] | None:
    """The outline with a harmless value; None where the system takes no such value."""
    base, make = SPOTS[spot]
    try:
        return outline(installers.answer(make(plan_of(system), base)), system)
    except BadValue:
        return None


@st.composite
def spoiled(draw: st.DrawFn, base: str) -> str:
    """A value of a person, with something in it that he did not mean."""
    at = draw(st.integers(0, len(base)))
    piece = draw(st.sampled_from(HOSTILE) | st.text(max_size=8))
    return draw(
        st.sampled_from((base[:at] + piece + base[at:], base[:at] + piece, piece, piece * 3))
    )


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_no_value_changes_what_an_installer_reads(data: st.DataObject):
    spot = data.draw(st.sampled_from(sorted(SPOTS)))
    base, make = SPOTS[spot]
    text = data.draw(spoiled(base))
    system = data.draw(st.sampled_from(sorted(installers.INSTALLERS)))
    try:
        answer = installers.answer(make(plan_of(system), text))
    except BadValue:
        return
    assert outline(answer, system) == expected(system, spot)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_value_of_a_role_does_either(data: st.DataObject):
    spot = data.draw(st.sampled_from(sorted(ROLE_SPOTS)))
    base, make = ROLE_SPOTS[spot]
    try:
        answer = installers.answer(make(data.draw(spoiled(base))))
    except BadValue:
        return
    assert outline(answer, "rocky-9") == outline(installers.answer(make(base)), "rocky-9")


@pytest.mark.parametrize("system", installers.INSTALLERS)
@pytest.mark.parametrize("piece", [p for p in HOSTILE if not p.isprintable() or "\n" in p])
def test_nothing_that_ends_a_line_passes_anywhere(system: str, piece: str):
    for base, make in SPOTS.values():
        for text in (base + piece, piece + base, base[:2] + piece + base[2:]):
            with pytest.raises(BadValue):
                installers.answer(make(plan_of(system), text))
