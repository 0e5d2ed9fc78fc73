"""Versions are ordered as rpm orders them."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpmspecs.versions import compare, evr_key


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1", "2"),
        ("9", "10"),
        ("1", "1.1"),
        ("1.0", "1.0.1"),
        ("1~rc1", "1"),
        ("1~rc1", "1~rc2"),
        ("1", "1^git1"),
        ("1^git1", "1.1"),
        ("1^git1", "1^git2"),
        ("1~rc1^git1", "1"),
        ("a", "b"),
        ("a", "1"),
        ("1", "1a"),
        ("1.a", "1.1"),
        ("001", "2"),
    ],
)
def test_one_is_older(older, newer):
    assert compare(older, newer) < 0
    assert compare(newer, older) > 0


@pytest.mark.parametrize(("one", "other"), [("1", "1"), ("1.0", "1_0"), ("01", "1"), ("1.", "1")])
def test_some_are_the_same(one, other):
    assert compare(one, other) == 0


def test_the_epoch_counts_first_and_the_release_last():
    mixed = [("1", "2", "1"), ("1", "1", "2"), ("0", "9", "1"), ("1", "1", "1")]
    assert sorted(mixed, key=evr_key) == [mixed[2], mixed[3], mixed[1], mixed[0]]


VERSIONS = st.text(alphabet="0129ab.~^_+", min_size=1, max_size=8)


@settings(max_examples=5)
@given(st.lists(st.tuples(VERSIONS, VERSIONS), min_size=100, max_size=100))
def test_rpm_says_the_same(pairs):
    if shutil.which("rpm") is None:
        pytest.skip("rpm is not installed")
    calls = "".join(f"print(rpm.vercmp('{one}', '{other}') .. ' ')" for one, other in pairs)
    said = subprocess.run(
        ["rpm", "--eval", f"%{{lua:{calls}}}"], check=True, capture_output=True, text=True
    )
    assert [compare(*pair) for pair in pairs] == [int(word) for word in said.stdout.split()]
