"""What pykickstart finds, by line and all of it."""

import pytest

from kickstarts.render import render
from kickstarts.validate import Finding, validate
from tests.unit.kickstarts.plans import PLAN


def test_every_problem_is_told_with_its_line():
    text = "lang en_US.UTF-8\nbogus\n\ntimezone --nontp Etc/UTC\nnetwork --bootproto=magic\n"
    assert [finding.line for finding in validate(text, "RHEL10")] == [2, 4, 5]
    assert "bogus" in validate(text, "RHEL10")[0].message


@pytest.mark.parametrize(("syntax", "good"), [("RHEL8", True), ("RHEL9", True), ("RHEL10", False)])
def test_the_release_decides(syntax, good):
    assert (validate("timezone Etc/UTC --nontp\n", syntax) == ()) is good


def test_a_section_without_an_end_is_found():
    assert "does not end" in validate("%pre\nid\n", "RHEL9")[0].message


def test_quotes_without_an_end_are_found_with_their_line():
    assert validate('text\nuser --name="ada\n', "RHEL9") == (Finding(2, "No closing quotation"),)


def test_an_include_is_written_by_a_pre_script_or_missing():
    text = "text\n%include /tmp/disks.ks\n"
    assert [str(each) for each in validate(text, "F43")] == [
        "line 2: %include /tmp/disks.ks: no %pre script writes it"
    ]
    assert validate(f"{text}%pre\necho >/tmp/disks.ks\n%end\n", "F43") == ()


def test_nothing_is_printed(capsys):
    validate("bogus\n%pre\n", "F43")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("zerombr\n", "zerombra\n", "Unknown command: zerombra"),
        ("--fstype=xfs\npart pv.01", "--fsstype=xfs\npart pv.01", "Unexpected arguments"),
        ("bootloader --boot-drive=$1", "bootloader --boot-drive='$1", "No closing quotation"),
    ],
)
def test_what_a_script_writes_for_the_installer_is_read_too(old, new, message):
    text = render(PLAN)
    assert text.count(old) == 1
    spoiled = text.replace(old, new)
    (finding,) = validate(spoiled, "RHEL9")
    assert finding.message.startswith("/tmp/rackseed-disks.ks: ")
    assert message in finding.message
    lines = spoiled.splitlines()
    assert new.splitlines()[0] in lines[finding.line - 1] or "No closing" in message
