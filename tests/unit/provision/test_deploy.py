"""What a host boots, what its tokens open, what its answer says: values only."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision import deploy
from provision.deploy import ANSWER_LIFETIME, REPORT_LIFETIME, Action, AnswerError
from provision.installing import installer
from provision.inventory.model import Host, Install, Role, System
from provision.lifecycle import HostState
from provision.store.hosts import HostRecord
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import Kernel, LocalDisk
from pxe.site import ReportKind
from tests.unit.provision.racks import inventory

NOW = datetime(2026, 5, 4, tzinfo=UTC)
MAC = MacAddress.parse("52:54:00:aa:00:01")
ADDRESS = IPv4Address("10.20.0.11")
ELSEWHERE = IPv4Address("10.20.0.99")
S = HostState


def host(install=Install.IMAGE, **changes):
    role = Role("r", install, os="debian-12", image=Path("debian.img"), **changes)
    return Host("cmp01", "r12", MAC, ADDRESS, role)


@pytest.mark.parametrize(
    ("state", "install", "action"),
    [
        (S.ENROLLED, Install.IMAGE, Action.INSPECT),
        (S.ENROLLED, Install.INSPECT, Action.INSPECT),
        (S.INSPECTING, Install.KICKSTART, Action.INSPECT),
        (S.ARMED, Install.IMAGE, Action.INSTALL),
        (S.ARMED, Install.KICKSTART, Action.INSTALL),
        (S.ARMED, Install.INSPECT, Action.INSPECT),
        (S.AVAILABLE, Install.INSPECT, "inspected and not armed"),
        (S.DEPLOYING, Install.IMAGE, "its arming is used up"),
        (S.ACTIVE, Install.IMAGE, "active and not armed"),
        (S.FAILED, Install.IMAGE, "failed and is not armed"),
    ],
)
def test_only_an_armed_host_installs_and_every_other_boot_has_a_reason(state, install, action):
    got = deploy.next_action(host(install), HostRecord("cmp01", state))
    if isinstance(action, str):
        assert isinstance(got, LocalDisk)
        assert action in got.reason
        assert "cmp01" in got.reason
    else:
        assert got is action


@pytest.mark.parametrize("state", S)
def test_every_state_has_a_boot(state):
    assert deploy.next_action(host(), HostRecord("cmp01", state)) is not None


def token(**changes):
    record = TokenRecord("d", "cmp01", MAC, ADDRESS, Purpose.ANSWER, "x", "http://b", NOW)
    return replace(record, **changes)


ARMED = HostRecord("cmp01", S.ARMED, S.AVAILABLE, "x", NOW)


@pytest.mark.parametrize(
    ("record", "host_record", "address", "later", "reason", "alarm"),
    [
        (token(), ARMED, ADDRESS, timedelta(), None, False),
        (token(), ARMED, ADDRESS, ANSWER_LIFETIME, None, False),
        (None, None, ADDRESS, timedelta(), "no answer is known", False),
        (token(purpose=Purpose.REPORT), ARMED, ADDRESS, timedelta(), "no answer is known", False),
        (token(used_at=NOW), ARMED, ADDRESS, timedelta(), "already delivered", True),
        (token(), ARMED, ELSEWHERE, timedelta(), "asked for from 10.20.0.99", True),
        (token(withdrawn_at=NOW), ARMED, ADDRESS, timedelta(), "withdrawn", False),
        (token(), ARMED, ADDRESS, ANSWER_LIFETIME + timedelta(seconds=1), "older than", False),
        (token(), replace(ARMED, arming="y"), ADDRESS, timedelta(), "not armed for this", False),
        (token(), replace(ARMED, state=S.ACTIVE), ADDRESS, timedelta(), "is active", False),
    ],
)
def test_an_answer_opens_once_for_one_host_at_one_address_in_one_arming(
    record, host_record, address, later, reason, alarm
):
    rejected = deploy.judge_answer(record, host_record, address, NOW + later)
    if reason is None:
        assert rejected is None
    else:
        assert reason in rejected.reason
        assert rejected.alarm is alarm


REPORT = token(purpose=Purpose.REPORT)


@pytest.mark.parametrize(
    ("record", "kind", "address", "later", "reason"),
    [
        (REPORT, ReportKind.PROGRESS, ADDRESS, timedelta(), None),
        (REPORT, ReportKind.INSTALLED, ADDRESS, REPORT_LIFETIME, None),
        (replace(REPORT, closed_by="installed", used_at=NOW), ReportKind.INSTALLED, ADDRESS,
         timedelta(), None),
        (replace(REPORT, closed_by="installed", used_at=NOW), ReportKind.FAILED, ADDRESS,
         timedelta(), "ended with 'installed'"),
        (replace(REPORT, closed_by="failed", used_at=NOW), ReportKind.PROGRESS, ADDRESS,
         timedelta(), "ended with 'failed'"),
        (replace(REPORT, closed_by="failed", used_at=NOW), ReportKind.INSTALLED, ADDRESS,
         timedelta(), None),
        (token(), ReportKind.INSTALLED, ADDRESS, timedelta(), "no report is expected"),
        (None, ReportKind.INSTALLED, ADDRESS, timedelta(), "no report is expected"),
        (REPORT, ReportKind.INSTALLED, ELSEWHERE, timedelta(), "came from 10.20.0.99"),
        (replace(REPORT, withdrawn_at=NOW), ReportKind.PROGRESS, ADDRESS, timedelta(), "withdrawn"),
        (REPORT, ReportKind.PROGRESS, ADDRESS, REPORT_LIFETIME + timedelta(1), "older than"),
    ],
)  # fmt: skip
def test_a_boot_session_may_report_until_it_said_how_it_ended(record, kind, address, later, reason):
    rejected = deploy.judge_report(record, kind, address, NOW + later)
    assert (rejected is None) if reason is None else (reason in rejected.reason)


def test_tokens_are_long_random_and_fit_for_urls():
    made = {deploy.new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 43 and one.replace("-", "").replace("_", "").isalnum() for one in made)


def test_the_token_for_reports_follows_from_the_token_of_the_answer_only():
    assert deploy.report_token("a") == deploy.report_token("a") != deploy.report_token("b")
    assert "a" * 43 not in deploy.report_token("a" * 43)


SYSTEM = System("debian-12", "d12/vmlinuz", ("d12/initrd.gz", "extra.cpio"), ("quiet",))


@pytest.mark.parametrize(
    ("install", "words"),
    [
        (Install.KICKSTART, ("inst.ks=URL", "ip=dhcp")),
        (Install.PRESEED, ("auto=true", "priority=critical", "interface=auto", "url=URL")),
        (Install.AUTOINSTALL, ("autoinstall", "ip=dhcp", "cloud-config-url=URL")),
    ],
)
def test_each_installer_is_told_where_its_answer_is(install, words):
    assert installer(host(install), SYSTEM, "URL") == Kernel(
        "artifacts/d12/vmlinuz",
        ("artifacts/d12/initrd.gz", "artifacts/extra.cpio"),
        ("quiet", *words, "BOOTIF=01-52-54-00-aa-00-01"),
        "installing cmp01 (debian-12)",
    )


def test_no_installer_s_kernel_prints_the_url_of_its_answer():
    loud = installer(host(Install.KICKSTART), replace(SYSTEM, arguments=("a=b",)), "URL")
    assert loud.arguments[:2] == ("quiet", "a=b")


def test_the_ramdisk_gets_its_orders_on_the_command_line():
    target = deploy.ramdisk(MAC, "image", "t", report="R", answer="A")
    assert target.arguments[:4] == (
        "rackseed.mac=52:54:00:aa:00:01",
        "rackseed.action=image",
        "rackseed.report=R",
        "rackseed.answer=A",
    )
    assert "console=ttyS0,115200" in target.arguments
    assert "quiet" in target.arguments, "the kernel would print the tokens on its consoles"
    bare = deploy.ramdisk(MAC, "inspect", "t", report="R")
    assert not any(word.startswith("rackseed.answer") for word in bare.arguments)


@pytest.mark.parametrize(
    ("name", "compression"),
    [("a.img", "none"), ("a.img.gz", "gzip"), ("a.raw.xz", "xz"), ("a.zst", "zstd")],
)
def test_an_image_is_ordered_by_lines_of_key_and_value(name, compression):
    text = deploy.image_answer(Path(name), "URL", sha256="ab", size=5, disk="largest")
    assert dict(line.split("=", 1) for line in text.splitlines()) == {
        "image": "URL",
        "sha256": "ab",
        "size": "5",
        "disk": "largest",
        "compression": compression,
    }


def test_a_disk_that_would_add_a_line_to_the_orders_is_refused():
    with pytest.raises(AnswerError, match="disk holds a control character"):
        deploy.image_answer(Path("a"), "URL", sha256="ab", size=5, disk="x\nimage=evil")


def plan(tmp_path, **changes):
    rack = inventory(tmp_path)
    made = deploy.install_plan(rack, rack.hosts["kick"], "http://10.20.0.1", "http://r/report/T")
    return replace(made, **changes)


def test_a_plan_holds_what_a_template_needs(tmp_path):
    made = plan(tmp_path)
    assert (made.host, made.fqdn) == ("kick", "kick.cloud.example.org")
    assert (str(made.address), made.prefix, str(made.netmask)) == (
        "10.20.0.12",
        22,
        "255.255.252.0",
    )
    assert (made.controller, str(made.controller_address)) == ("img", "10.20.0.11")
    assert made.artifacts_url == "http://10.20.0.1/artifacts/"
    assert "report/T" not in repr(made)


def test_a_name_with_a_newline_never_reaches_an_answer(tmp_path):
    with pytest.raises(AnswerError, match="host holds a control character"):
        plan(tmp_path, host="a\n%pre")


def test_a_template_is_filled_from_the_plan_alone(tmp_path):
    template = tmp_path / "ks.j2"
    template.write_text(
        "network --hostname={{ fqdn }} --ip={{ address }}\n"
        "{% for server in dns %}\ndns {{ server }}\n{% endfor %}\nend\n"
    )
    assert deploy.render_answer(plan(tmp_path), template) == (
        "network --hostname=kick.cloud.example.org --ip=10.20.0.12\ndns 10.20.0.2\nend\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ hots }}\n", "'hots' is undefined"),
        ("a\n{% if %}\n", "ks.j2:2: "),
        ("{{ inventory }}", "'inventory' is undefined"),
        ("{% include 'other' %}", "other: cannot be read"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_mistake_in_a_template_is_told_with_its_file(tmp_path, text, said):
    template = tmp_path / "ks.j2"
    template.write_text(text)
    with pytest.raises(AnswerError) as error:
        deploy.render_answer(plan(tmp_path), template)
    assert said in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_missing_template_is_told_with_its_path(tmp_path):
    with pytest.raises(AnswerError, match=r"nowhere\.ks: cannot be read"):
        deploy.render_answer(plan(tmp_path), tmp_path / "nowhere.ks")


def test_an_unknown_machine_is_told_what_to_write():
    lines = deploy.unknown_machine(MAC, ADDRESS).lines
    assert any("mac: 52:54:00:aa:00:01" in line for line in lines)
