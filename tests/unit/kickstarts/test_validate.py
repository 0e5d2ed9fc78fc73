"""What pykickstart finds, by line and all of it."""

import pytest

from kickstarts.validate import Finding, validate


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
