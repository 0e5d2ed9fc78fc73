"""Which parts of a repository are asked for source packages."""

from pathlib import Path

import pytest

from provision.run import run, start
from rpmspecs import rebuild
from rpmspecs.errors import BadInput
from rpmspecs.metadata import Listed, Repomd
from rpmspecs.rebuild import find_srpms
from rpmspecs.running import Programs

BASE = "http://mirror.lan/a/"
SOURCE = f"{BASE}source/"


def find(monkeypatch: pytest.MonkeyPatch, archs: dict[str, str]) -> tuple[list[Path], list[str]]:
    """What is found where each repository lists one package, and which ones were asked."""
    asked = []

    def index(top, _proxy):
        asked.append(top)
        return Repomd(0, {}, {}) if top in archs else None

    def listed(top, *_):
        arch = archs[top]
        return [Listed("a", f"a-1-1.{arch}", ("0", "1", "1"), arch, f"a-1-1.{arch}.rpm", "0" * 64)]

    monkeypatch.setattr(rebuild, "_index", index)
    monkeypatch.setattr(rebuild, "_listed", listed)
    monkeypatch.setattr(rebuild, "fetch", lambda *_, **__: None)
    return find_srpms(BASE, [], Path("cache"), Programs(run, start)), asked


def test_where_source_packages_are_found_nothing_below_is_asked_for(monkeypatch):
    """A server may refuse what it does not have, instead of saying so."""
    [found], asked = find(monkeypatch, {BASE: "src", SOURCE: "src"})
    assert found.name == "a-1-1.src.rpm"
    assert asked == [BASE]


@pytest.mark.parametrize("archs", [{SOURCE: "src"}, {BASE: "noarch", SOURCE: "src"}])
def test_they_may_lie_below(monkeypatch, archs):
    [found], asked = find(monkeypatch, archs)
    assert found.name == "a-1-1.src.rpm"
    assert asked == [BASE, SOURCE]


@pytest.mark.parametrize(
    ("archs", "sentence"),
    [({}, "is no repository"), ({BASE: "noarch"}, "holds no source packages")],
)
def test_a_repository_without_them_is_not_taken_for_none(monkeypatch, archs, sentence):
    with pytest.raises(BadInput, match=sentence):
        find(monkeypatch, archs)
