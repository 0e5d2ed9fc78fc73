"""What is done next, for everything that Glance may hold."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuild.glance import (
    DIGEST,
    DRAFT_BY,
    DRAFT_FOR,
    PUBLISHED,
    Change,
    Create,
    Delete,
    Done,
    Memory,
    Publish,
    Refuse,
    Remote,
    Send,
    State,
    Step,
    Visibility,
    Wish,
    draft_fields,
    next_step,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ME, LIVING, DEAD = "here/1-1", "there/2-2", "here/3-3"


def wish(digest: str = "new", **changes: object) -> Wish:
    made = Wish("debian-12", 100, "qcow2", lambda algorithm: f"{algorithm}-{digest}")
    return replace(made, **changes)  # type: ignore[arg-type]


def memory(**changes: object) -> Memory:
    made = Memory(ME, NOW, over=lambda by: by == DEAD)
    return replace(made, **changes)  # type: ignore[arg-type]


def whole(id_: str, digest: str, published: str = "2026-01-01", **changes: object) -> Remote:
    """A published image of ours."""
    made = Remote(
        id=id_,
        name="debian-12",
        state=State.WHOLE,
        hidden=False,
        visibility=Visibility.SHARED,
        created=NOW,
        updated=NOW,
        size=100,
        hash=("sha512", f"sha512-{digest}"),
        properties={DIGEST: f"sha512-{digest}", PUBLISHED: published},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def draft(id_: str, digest: str, by: str, state: State, **changes: object) -> Remote:
    properties = {DIGEST: f"sha512-{digest}", DRAFT_FOR: "debian-12", DRAFT_BY: by}
    made = whole(id_, digest, hidden=True, state=state, properties=properties, name="arriving")
    if state is not State.WHOLE:
        made = replace(made, size=None, hash=None)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([], Create()),
        ([whole("a", "old")], Create()),
        ([draft("d", "new", ME, State.EMPTY)], Send("d")),
        ([draft("d", "new", LIVING, State.EMPTY)], Create()),
        ([draft("d", "new", LIVING, State.ARRIVING)], Create()),
        ([draft("d", "new", DEAD, State.EMPTY)], Change),
        ([draft("d", "new", DEAD, State.ARRIVING)], Delete),
        ([draft("d", "new", DEAD, State.BROKEN)], Delete),
        ([draft("d", "old", DEAD, State.EMPTY)], Delete),
        ([draft("d", "old", LIVING, State.EMPTY)], Create()),
        ([draft("d", "new", DEAD, State.WHOLE)], Publish),
        ([draft("d", "new", LIVING, State.WHOLE)], Create()),
        ([draft("d", "new", ME, State.WHOLE, size=99)], Refuse),
        ([draft("d", "new", ME, State.WHOLE, hash=("sha512", "sha512-other"))], Refuse),
        ([draft("d", "new", ME, State.WHOLE, hash=("crc32", "crc32-new"))], Refuse),
        ([draft("d", "new", ME, State.WHOLE, hash=None)], Refuse),
        ([draft("d", "new", ME, State.WHOLE, hash=("md5", "md5-new"))], Publish),
        # Glance tells a digest also for bytes that it refused: an empty image is not whole.
        ([draft("d", "new", ME, State.EMPTY, hash=("sha512", "sha512-new"), size=100)], Send("d")),
        ([whole("a", "new")], Done("a")),
        ([whole("a", "new"), draft("d", "new", DEAD, State.EMPTY)], Delete),
        ([whole("a", "new"), draft("d", "new", LIVING, State.EMPTY)], Done("a")),
        ([whole("a", "new", hidden=True), whole("b", "old", "2026-02-01")], Publish),
        ([whole("a", "new"), whole("b", "old", "2026-02-01")], Publish),
        ([whole("a", "new", "2026-02-01"), whole("b", "old")], Change),
        ([whole("a", "new", "2026-02-01"), whole("b", "old", hidden=True)], Done("a")),
    ],
)
def test_the_next_step(seen: Sequence[Remote], expected: Step | type[Step]) -> None:
    step = next_step(wish(), seen, memory())
    assert step == expected if not isinstance(expected, type) else isinstance(step, expected)


def test_a_draft_without_a_sign_of_life_for_long_is_finished_by_whoever_comes() -> None:
    silent = draft("d", "new", LIVING, State.EMPTY, updated=NOW - timedelta(hours=1))
    assert next_step(wish(), [silent], memory()) == Change(
        "d", {DRAFT_BY: ME}, "an upload that broke off goes on"
    )


def test_one_request_makes_a_draft_the_image_of_that_name() -> None:
    step = next_step(wish(), [draft("d", "new", ME, State.WHOLE), whole("a", "old")], memory())
    assert isinstance(step, Publish)
    assert step.fields["name"] == "debian-12"
    assert step.fields["os_hidden"] is False
    assert step.fields["visibility"] == "shared", "as the image that it replaces"
    assert step.fields[DRAFT_FOR] is step.fields[DRAFT_BY] is None


def test_older_images_are_deleted_beyond_those_that_are_kept_and_only_ours() -> None:
    seen = [
        whole("a", "new", "2026-05-01"),
        whole("b", "b", "2026-04-01", hidden=True),
        whole("c", "c", "2026-03-01", hidden=True),
        whole("d", "d", "2026-02-01", hidden=True, properties={}),
    ]
    assert next_step(wish(keep=2), seen, memory()) == Done("a")
    assert next_step(wish(keep=1), seen, memory()) == Delete("c", "replaced long ago")
    assert next_step(wish(keep=1), seen, memory(stuck={"c"})) == Done("a")
    assert next_step(wish(keep=0), seen[:1] + seen[3:], memory()) == Done("a")


def test_what_is_published_never_has_an_older_stamp_than_what_it_replaces() -> None:
    ahead = whole("a", "old", "2027-01-01T00:00:00Z")
    step = next_step(wish(), [ahead, draft("d", "new", ME, State.WHOLE)], memory())
    assert isinstance(step, Publish)
    assert str(step.fields[PUBLISHED]) > "2027-01-01T00:00:00Z"


class Glance:
    """As much of Glance as the decision sees, for many runs at once."""

    def __init__(self) -> None:
        self.images: dict[str, Remote] = {}
        self.count = 0

    def do(self, step: Step, wanted: Wish, mind: Memory) -> None:
        match step:
            case Create():
                self.count += 1
                id_ = f"i{self.count:03}"
                fields = draft_fields(wanted, mind)
                properties = {k: str(v) for k, v in fields.items() if k.startswith("rackseed_")}
                self.images[id_] = draft(id_, "", "", State.EMPTY, properties=properties)
            case Send(id_) if id_ in self.images:
                digest = ("sha512", wanted.sha512)
                sent = replace(self.images[id_], state=State.WHOLE, size=100, hash=digest)
                self.images[id_] = sent
            case Change(id_, fields, _) | Publish(id_, fields) if id_ in self.images:
                self.images[id_] = changed(self.images[id_], fields)
            case Delete(id_) | Refuse(id_):
                self.images.pop(id_, None)


def changed(image: Remote, fields: object) -> Remote:
    assert isinstance(fields, dict)
    properties = {**image.properties}
    for key, value in fields.items():
        if key.startswith("rackseed_"):
            properties.pop(key, None)
            if value is not None:
                properties[key] = value
    return replace(
        image,
        name=fields.get("name", image.name),
        hidden=fields.get("os_hidden", image.hidden),
        properties=properties,
    )


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_runs_and_dies_when_nothing_else_than_whole_images_is_ever_shown(
    data: st.DataObject,
) -> None:
    """Some runs of two builds take steps in any order, on what they saw some steps ago; any may
    die. At the end one run alone puts everything right."""
    glance = Glance()
    runs = [f"run{n}/0-0" for n in range(data.draw(st.integers(1, 3)))]
    builds = {run: wish(data.draw(st.sampled_from(["one", "two"])), keep=1) for run in runs}
    published: dict[str, str] = {}
    living, over = list(runs), set[str]()
    for turn in range(40):
        if not living:
            break
        run = data.draw(st.sampled_from(living))
        if data.draw(st.integers(0, 12)) == 0:
            living.remove(run)
            over.add(run)
            continue
        now = NOW + timedelta(seconds=turn // 4)
        mind = Memory(run, now, over.__contains__, published.get(run))
        step = next_step(builds[run], list(glance.images.values()), mind)
        glance.do(step, builds[run], mind)
        if isinstance(step, Publish):
            published[run] = step.id
        if isinstance(step, Done):
            living.remove(run)
        for image in glance.images.values():
            if not image.hidden:
                assert image.state is State.WHOLE
                assert not image.is_draft
                assert image.hash == ("sha512", image.properties[DIGEST])
    last = Memory("last/0-0", NOW + timedelta(hours=1), lambda by: True)
    for _ in range(60):
        step = next_step(wish("one"), list(glance.images.values()), last)
        glance.do(step, wish("one"), last)
        if isinstance(step, Publish):
            last = replace(last, published=step.id)
        if isinstance(step, Done):
            break
    else:
        raise AssertionError("it does not end")
    shown = [image for image in glance.images.values() if not image.hidden]
    assert [image.properties[DIGEST] for image in shown] == ["sha512-one"]
    assert len(glance.images) <= 2, "one is kept"
