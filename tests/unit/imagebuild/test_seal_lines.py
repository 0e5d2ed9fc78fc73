"""Every kind of line of the seal table is found, and mended, as it is written down by hand."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from imagebuild.seal.rules import AbsentWith, Lines, portable
from imagebuild.seal.table import TABLE
from tests.sealing import seal, verified
from tests.unsealed import CLEAN, make
from tests.unsealed_lines import BY_HAND, LINES, Leftover

RULES = [
    (row.name, rule) for row in TABLE for rule in row.rules if isinstance(rule, Lines | AbsentWith)
]


def others(path: str) -> dict[str, str]:
    """A sealed system without a file of this name."""
    return {name: text for name, text in CLEAN.items() if name != path}


@pytest.mark.parametrize("leftover", [*LINES, *BY_HAND], ids=str)
def test_each_line_is_found_by_itself_and_its_neighbours_are_not(leftover: Leftover, tmp_path):
    row = [row for row in TABLE if row.name == leftover.row]
    root = make(tmp_path, others(leftover.path))
    for line in leftover.wrong:
        make(root, {leftover.path: f"{leftover.keep}{line}\n"})
        assert [one.path for one in verified(root, row).findings] == [leftover.path], line
    found = {(one.row.name, one.path) for one in verified(root).findings}
    assert found == {(leftover.row, leftover.path)}
    make(root, {leftover.path: leftover.keep})
    assert verified(root).findings == ()


def rounds() -> Iterator[Sequence[Leftover]]:
    """All that the script mends, in as few systems as there can be."""
    left = list(LINES)
    while left:
        now: dict[str, Leftover] = {}
        for one in left:
            if not any(are_one(one.path, path) for path in now):
                now[one.path] = one
        yield list(now.values())
        left = [one for one in left if one not in now.values()]


def are_one(path: str, other: str) -> bool:
    """Whether no system can have both files."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


@pytest.mark.parametrize("leftovers", list(rounds()), ids=len)
def test_the_script_takes_each_wrong_line_and_nothing_else(leftovers, tmp_path):
    root = make(tmp_path / "root", dict(CLEAN))
    for one in leftovers:
        make(root, {one.path: one.keep + "".join(f"{line}\n" for line in one.wrong)})
    seal(root)
    for one in leftovers:
        path = root / one.path
        if one.goes:
            assert not path.exists(), one
        else:
            assert path.read_text() == after(one), one
    assert [str(finding) for finding in verified(root).findings] == []


def after(one: Leftover) -> str:
    """What is to be left of a file."""
    mended = one.mended[:1] if one.row == "iscsi-initiator" else one.mended
    return one.keep + "".join(f"{line}\n" for line in mended)


@pytest.mark.parametrize(("row", "rule"), RULES, ids=lambda value: str(value)[:60])
def test_every_file_and_every_word_of_an_expression_has_its_line(row: str, rule: Lines):
    mine = [one for one in LINES if one.row == row]
    for pattern in rule.patterns:
        lines = [line for one in mine if fnmatch(one.path, pattern) for line in one.wrong]
        assert any(re.search(portable(rule.expression), line) for line in lines), pattern
    lines = [line for one in mine for line in one.wrong]
    for less in poorer(rule.expression):
        missed = [line for line in lines if not re.search(portable(less), line)]
        found = [line for line in lines if re.search(portable(rule.expression), line)]
        assert set(missed) & set(found), f"no line needs all of {rule.expression}, only {less}"


def poorer(expression: str) -> Iterator[str]:
    """An expression without one of its alternatives, for each of them."""
    for group in re.finditer(r"\(((?:[^()]*\|)+[^()]*)\)", expression):
        words = group[1].split("|")
        for number in range(len(words)):
            rest = "|".join(words[:number] + words[number + 1 :])
            yield f"{expression[: group.start(1)]}{rest}{expression[group.end(1) :]}"


RPM = {
    **{name: text for name, text in CLEAN.items() if not name.startswith("var/lib/dpkg")},
    "var/lib/rpm/Packages": "",
}


@pytest.mark.parametrize("text", ["InitiatorName=iqn.1994-05.com.redhat:a\n", "GenerateName=yes\n"])
def test_enterprise_linux_makes_an_initiators_name_only_where_there_is_no_file(text, tmp_path):
    path = "etc/iscsi/initiatorname.iscsi"
    root = make(tmp_path / "root", {**RPM, path: text})
    (finding,) = verified(root).findings
    assert (finding.row.name, finding.path) == ("iscsi-initiator", path)
    seal(root)
    assert not (root / path).exists()
    assert verified(root).findings == ()


@pytest.mark.parametrize("other", ["-> ../../../etc/hostname", "0123456789abcdef\n"])
def test_a_second_machine_id_of_d_bus_becomes_a_link(other, tmp_path):
    root = make(tmp_path / "root", {**CLEAN, "var/lib/dbus/machine-id": other})
    assert [one.row.name for one in verified(root).findings] == ["dbus-machine-id"]
    seal(root)
    assert (root / "var/lib/dbus/machine-id").readlink() == Path("/etc/machine-id")


def test_poorer_expressions_are_made_of_each_word():
    assert list(poorer("^(a|b)=(x|y)$")) == [
        "^(b)=(x|y)$",
        "^(a)=(x|y)$",
        "^(a|b)=(y)$",
        "^(a|b)=(x)$",
    ]
