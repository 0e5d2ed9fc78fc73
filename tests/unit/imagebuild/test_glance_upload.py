"""What is told of an upload that a person ends."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagebuild.glance import DRAFT_BY, DRAFT_FOR, Remote, State, Visibility, Wish
from imagebuild.glance_upload import Body, digests, publish

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Interrupted:
    """A store of one whole draft; Ctrl-C is pressed in the call with this number."""

    def __init__(self, path: Path, at: int) -> None:
        self._left = at
        digest = ("sha512", digests(path)("sha512"))
        properties = {DRAFT_FOR: "x", DRAFT_BY: "elsewhere", "rackseed_sha512": digest[1]}
        self._image = Remote(
            id="id1",
            name="arriving",
            state=State.WHOLE,
            hidden=True,
            visibility=Visibility.PRIVATE,
            created=NOW,
            updated=datetime(2026, 1, 1, tzinfo=UTC),
            size=path.stat().st_size,
            hash=digest,
            properties=properties,
        )

    def look(self, name: str) -> tuple[datetime, Sequence[Remote]]:
        self._count()
        return NOW, [self._image]

    def change(self, image: str, fields: Mapping[str, object]) -> bool:
        self._count()
        return True

    def create(self, fields: Mapping[str, object]) -> str:
        raise AssertionError

    def send(self, image: str, body: Body) -> bool:
        raise AssertionError

    def delete(self, image: str) -> str | None:
        raise AssertionError

    def step(self, text: str) -> None:
        pass

    def sent(self, octets: int, whole: int) -> None:
        pass

    def _count(self) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (0, "nothing new is published"),
        (1, "id1 may be published or not"),
        (2, "id1 is published, what it replaces may not be put away yet"),
    ],
)
def test_an_interrupted_upload_tells_what_is_published(tmp_path: Path, at: int, told: str) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(b"image")
    store = Interrupted(path, at)
    wish = Wish("x", 5, "raw", digests(path))
    with pytest.raises(KeyboardInterrupt) as ended:
        publish(path, wish, store, store)
    assert ended.value.__notes__ == [told]
