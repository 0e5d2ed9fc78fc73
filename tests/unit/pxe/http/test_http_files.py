"""A file found a moment ago is not looked for again, and never sent in place of another."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from pxe.catalog import Catalog, File
from pxe.http.app import BootApp
from pxe.http.exchange import Request, Response
from pxe.http.files import KEPT, KEPT_SECONDS, RecentFiles
from tests.descriptors import no_more_descriptors
from tests.sites import LOOPBACK, SETTINGS, MemorySite

PATH = "//artifacts/a%61"
NAME = PurePosixPath("artifacts/aa")
GET = Request("GET", PATH, {}, LOOPBACK)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def real(tmp_path: Path) -> Path:
    (tmp_path / "aa").write_bytes(b"first")
    return tmp_path / "aa"


def found(real: Path) -> File:
    file = Catalog({}, real.parent, None, MemorySite(), SETTINGS).common(NAME)
    assert isinstance(file, File)
    return file


def sent(recent: RecentFiles, request: Request = GET) -> bytes | None:
    response = recent.response(request)
    if response is None or response.file is None:
        return None
    with response.file as file:
        file.seek(response.offset)
        return file.read(response.length)


def test_a_path_is_remembered_for_a_moment(real: Path) -> None:
    clock = Clock()
    recent = RecentFiles(clock)
    assert sent(recent) is None
    recent.keep(PATH, NAME, found(real))
    assert sent(recent) == b"first"
    assert sent(recent, GET._replace(headers={"Range": "bytes=1-2"})) == b"ir"
    assert sent(recent, GET._replace(path="/artifacts/aa")) is None
    clock.now += KEPT_SECONDS + 0.1
    assert sent(recent) is None
    assert recent.name(PATH) == NAME


@pytest.mark.parametrize("change", ["replaced", "edited", "gone", "link"])
def test_a_file_that_is_another_by_now_is_looked_for_again(real: Path, change: str) -> None:
    recent = RecentFiles()
    recent.keep(PATH, NAME, found(real))
    match change:
        case "replaced":
            real.with_suffix(".new").write_bytes(b"other")
            real.with_suffix(".new").rename(real)
        case "edited":
            real.write_bytes(b"other")
        case "gone":
            real.unlink()
        case "link":
            real.rename(real.with_suffix(".old"))
            real.symlink_to(real.with_suffix(".old"))
    assert recent.response(GET) is None


def test_a_method_that_files_do_not_have_gets_nothing(real: Path) -> None:
    recent = RecentFiles()
    recent.keep(PATH, NAME, found(real))
    assert recent.response(GET._replace(method="POST")) is None


def test_not_more_is_remembered_than_a_rack_asks_for(real: Path) -> None:
    recent, file = RecentFiles(), found(real)
    for number in range(2 * KEPT + 1):
        recent.keep(f"/{number}", NAME, file)
    assert recent.name("/0") is None
    assert recent.name(f"/{2 * KEPT}") == NAME


def test_a_file_that_cannot_be_read_now_is_to_be_asked_for_again(real: Path) -> None:
    site = MemorySite()
    app = BootApp(site, Catalog({}, real.parent, None, site, SETTINGS))

    def answered() -> Response:
        response = app.respond(GET)
        assert isinstance(response, Response)
        if response.file is not None:
            response.file.close()
        return response

    for _ in range(2):  # looked for, and remembered
        with no_more_descriptors():
            refused = answered()
        assert refused.status == 503
        assert "Retry-After: 5" in refused.fields
        assert "Too many open files" in refused.reason
        assert b"Too many" not in refused.body
        assert answered().status == 200
    real.unlink()
    assert answered().status == 404
