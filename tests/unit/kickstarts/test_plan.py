"""What may stand in an answer: checked where a plan is made, so that no template has to."""

from dataclasses import replace

import pytest

from kickstarts.errors import BadValue
from kickstarts.plan import (
    Bond,
    DiskChoice,
    DiskLayout,
    Layout,
    Packages,
    Repository,
    User,
)
from kickstarts.values import SHAPES, Secret, check
from tests.unit.kickstarts.plans import HASH, KEY, PLAN, TOKEN

TEXTS = {
    "system": "rocky-9",
    "host": "ctl01",
    "domain": "cloud.example.org",
    "time_zone": "Europe/Berlin",
    "locale": "de_DE.UTF-8",
    "keyboard": "de-nodeadkeys",
    "log_host": "10.20.0.3",
}
HOSTILE = ("\n%pre\nid\n%end", "\n", "\r", "%end", ' "', "'", "`id`", "$(id)", "\\", "\0", "\u2028")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", TEXTS)
def test_no_text_can_end_its_line_its_quotes_or_its_section(field, value):
    replace(PLAN, **{field: TEXTS[field]})
    with pytest.raises(BadValue, match=rf"^{field}: expected"):
        replace(PLAN, **{field: TEXTS[field] + value})
    with pytest.raises(BadValue, match=rf"^{field}: expected"):
        replace(PLAN, **{field: value + TEXTS[field]})


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_lets_an_attack_pass(shape, value):
    with pytest.raises(BadValue):
        check(shape, "here", value)
    with pytest.raises(BadValue):
        check(shape, "here", f"a{value}")


@pytest.mark.parametrize("value", HOSTILE)
def test_values_below_the_plan_are_checked_too(value):
    for make in (
        lambda: User("ada" + value, (KEY,)),
        lambda: User("ada", (KEY + value,)),
        lambda: User("ada", (), Secret(HASH + value)),
        lambda: User("ada", (KEY,), full_name="Ada" + value),
        lambda: Repository("mine", "http://10.20.0.3/rpm/" + value),
        lambda: Packages(ours="http://10.20.0.3/rpm/" + value),
        lambda: Packages(more=("vim" + value,)),
        lambda: Bond("bond0" + value, ("eno1", "eno2")),
        lambda: Bond("bond0", ("eno1", "eno2" + value)),
        lambda: DiskLayout(DiskChoice.SERIAL, ("S1" + value,)),
        lambda: DiskLayout(DiskChoice.PATH, ("/dev/disk/by-path/pci-0" + value,)),
        lambda: replace(PLAN, report_url=Secret("http://10.20.0.3/report/a" + value)),
        lambda: replace(PLAN, time_servers=("10.20.0.1" + value,)),
        lambda: replace(PLAN, root_password=Secret(HASH + value)),
    ):
        with pytest.raises(BadValue):
            make()


def test_a_password_in_the_place_of_its_hash_is_refused_and_not_quoted():
    with pytest.raises(BadValue) as raised:
        replace(PLAN, root_password=Secret("correct horse"))
    assert "horse" not in str(raised.value)


def test_a_secret_shows_itself_to_nobody():
    plan = replace(PLAN, root_password=Secret(HASH))
    assert HASH not in repr(plan)
    assert TOKEN not in f"{plan.report_url} {plan.report_url!r} {plan}"


def test_two_disks_are_named_for_a_mirror_and_one_otherwise():
    assert DiskLayout(DiskChoice.SERIAL, ("S1", "S2"), Layout.RAID1).count == 2
    with pytest.raises(BadValue, match="2 different disks"):
        DiskLayout(DiskChoice.SERIAL, ("S1", "S1"), Layout.RAID1)
    with pytest.raises(BadValue, match="1 different disks"):
        DiskLayout(DiskChoice.SERIAL, ("S1", "S2"))


def test_a_host_that_nobody_could_enter_is_refused():
    with pytest.raises(BadValue, match="administrators"):
        replace(PLAN, administrators=())
    with pytest.raises(BadValue, match="an SSH key or"):
        User("ada")
