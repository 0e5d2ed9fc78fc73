"""What is to be done so that an image is published: from what Glance holds to the next step.

A draft is an image under its final name's mark, hidden and private, that nobody takes for
published. It gets its name and visibility in one request, after its digest was compared. Every
step is followed by another look, so that a run that was killed, and another that works on the
same name, are seen as they are.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

DRAFT_FOR = "rackseed_for"
"""Property of a draft: the name that it is meant to get."""
DRAFT_BY = "rackseed_upload"
"""Property of a draft: which process works on it."""
DIGEST = "rackseed_sha512"
"""Property of every image of ours: what its bytes must be. Others we hide, and never delete."""
PUBLISHED = "rackseed_published"
"""Property of a published image: since when, in UTC to the second. The newest is the valid one."""
OWN_PROPERTIES = frozenset({DRAFT_FOR, DRAFT_BY, DIGEST, PUBLISHED})
DRAFT_NAME = "{name} (arriving, not published)"

ABANDONED_AFTER = timedelta(minutes=10)
"""A draft on which another machine worked is ours to finish after so long without a sign."""
SIGN_EVERY = timedelta(minutes=1)
"""How often the sender of a draft gives that sign."""

TRUSTED_HASHES = ("sha512", "sha384", "sha256", "md5")
"""Of hashlib; the last one for servers that know only the old checksum."""


class Visibility(Enum):
    """Who sees a published image, in Glance's words."""

    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


class State(Enum):
    """What counts of an image's status."""

    EMPTY = "queued"
    ARRIVING = "saving"
    WHOLE = "active"
    BROKEN = "other"


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in Glance, of our own project."""

    id: str
    name: str
    state: State
    hidden: bool
    visibility: Visibility
    created: datetime
    updated: datetime
    """By the server's clock."""
    size: int | None = None
    """In bytes; None until they are there."""
    hash: tuple[str, str] | None = None
    """Algorithm and digest. A server may tell one for bytes that it then refused."""
    min_disk: int = 0
    min_ram: int = 0
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_draft(self) -> bool:
        """Not published yet."""
        return DRAFT_FOR in self.properties

    @property
    def is_ours(self) -> bool:
        """Uploaded by this program."""
        return DIGEST in self.properties

    @property
    def age(self) -> tuple[str, datetime, str]:
        """Sorts from the oldest published to the newest."""
        return (self.properties.get(PUBLISHED, ""), self.created, self.id)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be published."""

    name: str
    size: int
    """Of the file, in bytes."""
    disk_format: str
    digest: Callable[[str], str] = field(compare=False)
    """The file's digest in hexadecimal, by the algorithm's name."""
    visibility: Visibility | None = None
    """None: that of the image that is replaced, private for a first one."""
    min_disk: int = 0
    """GiB that the guest's disk must have."""
    min_ram: int = 0
    """MiB that the guest's memory must have."""
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str] = field(default_factory=dict)
    keep: int = 1
    """How many replaced images stay, hidden."""

    @property
    def sha512(self) -> str:
        """What tells one build from another."""
        return self.digest("sha512")


@dataclass(frozen=True, slots=True)
class Memory:
    """What this run has done so far, and what it knows of other processes."""

    me: str
    """How this run signs its drafts."""
    now: datetime
    """By the server's clock."""
    over: Callable[[str], bool]
    """Whether the process that signed so has surely ended."""
    published: str | None = None
    """The image that this run has published."""
    stuck: Set[str] = frozenset()
    """Images that could not be deleted: protected, or used."""


@dataclass(frozen=True, slots=True)
class Create:
    """Make an empty draft."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the file into an empty draft of ours."""

    id: str


@dataclass(frozen=True, slots=True)
class Change:
    """Set fields of an image in one request; None removes a property."""

    id: str
    fields: Mapping[str, object]
    why: str


@dataclass(frozen=True, slots=True)
class Publish:
    """As `Change`: from now on it is the image of this name."""

    id: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an image."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Remove a draft that holds other bytes, and give up."""

    id: str
    found: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to be done."""

    id: str
    superseded: bool = False
    """Another run has published another file under this name after this one."""


Step = Create | Send | Change | Publish | Delete | Refuse | Done


def next_step(wish: Wish, seen: Sequence[Remote], memory: Memory) -> Step:
    """The one thing to do next, judged by all that Glance holds under this name."""
    drafts = [image for image in seen if image.properties.get(DRAFT_FOR) == wish.name]
    named = [image for image in seen if image.name == wish.name and not image.is_draft]
    named = sorted((i for i in named if i.state is State.WHOLE), key=lambda i: i.age)
    visible = [image for image in named if not image.hidden]
    valid = visible[-1] if visible else None
    ours = next((image for image in reversed(named) if matches(image, wish)), None)
    if memory.published is not None and valid is not None and valid.id != memory.published:
        # Both runs see the same newest image, so exactly one of them stays visible.
        return _rotate(visible, named, wish, memory) or Done(valid.id, superseded=True)
    if ours is None:
        return _of_drafts(drafts, valid, wish, memory)
    if ours.hidden or ours is not valid:
        return Publish(ours.id, _publication(ours, valid, wish, memory.now))
    abandoned = (d for d in drafts if is_abandoned(d, memory) and d.id not in memory.stuck)
    if draft := next(abandoned, None):
        return Delete(draft.id, "an upload of this name that was not finished")
    if fields := _differences(ours, wish):
        return Change(ours.id, fields, "properties")
    return _rotate(visible, named, wish, memory) or Done(ours.id)


def is_abandoned(draft: Remote, memory: Memory) -> bool:
    """Whether a draft is ours to finish or remove: our own, or of a run that is over."""
    by = draft.properties.get(DRAFT_BY, "")
    silent = memory.now - draft.updated > ABANDONED_AFTER
    return by == memory.me or silent or memory.over(by)


def matches(image: Remote, wish: Wish) -> bool:
    """Whether Glance holds the very bytes of the file."""
    if image.state is not State.WHOLE or image.size != wish.size or image.hash is None:
        return False
    algorithm, digest = image.hash
    return algorithm in TRUSTED_HASHES and digest == wish.digest(algorithm)


def draft_fields(wish: Wish, memory: Memory) -> dict[str, object]:
    """What an empty draft is created with."""
    return {
        **wish.properties,
        "name": DRAFT_NAME.format(name=wish.name),
        "visibility": Visibility.PRIVATE.value,
        "os_hidden": True,
        "disk_format": wish.disk_format,
        "container_format": "bare",
        "min_disk": wish.min_disk,
        "min_ram": wish.min_ram,
        "tags": sorted(wish.tags),
        DIGEST: wish.sha512,
        DRAFT_FOR: wish.name,
        DRAFT_BY: memory.me,
    }


def _of_drafts(drafts: Sequence[Remote], valid: Remote | None, wish: Wish, memory: Memory) -> Step:
    """Finish a draft that may be finished, remove what may not, else begin."""
    free = [d for d in drafts if is_abandoned(d, memory) and d.id not in memory.stuck]
    for draft in free:
        own = draft.properties.get(DRAFT_BY) == memory.me
        if draft.properties.get(DIGEST) != wish.sha512:
            return Delete(draft.id, "an unfinished upload of another file")
        match draft.state:
            case State.WHOLE if matches(draft, wish):
                return Publish(draft.id, _publication(draft, valid, wish, memory.now))
            case State.WHOLE if own:
                return Refuse(draft.id, _told(draft))
            case State.EMPTY if own:
                return Send(draft.id)
            case State.EMPTY:
                return Change(draft.id, {DRAFT_BY: memory.me}, "an upload that broke off goes on")
            case _:
                return Delete(draft.id, "an upload that cannot be finished")
    return Create()


def _publication(
    image: Remote, valid: Remote | None, wish: Wish, now: datetime
) -> Mapping[str, object]:
    """All that makes an image the published one, for one request."""
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    if valid is not None:  # never older than what it replaces, whatever the clock did
        stamp = max(stamp, _after(valid.properties.get(PUBLISHED, "")))
    visibility = wish.visibility or (valid.visibility if valid else Visibility.PRIVATE)
    fields: dict[str, object] = {
        **_differences(image, wish),
        "name": wish.name,
        "visibility": visibility.value,
        "os_hidden": False,
        PUBLISHED: stamp,
    }
    return fields | {key: None for key in (DRAFT_FOR, DRAFT_BY) if key in image.properties}


def _after(stamp: str) -> str:
    """A stamp that sorts after `stamp`; one of the same second is told apart by a letter."""
    return f"{stamp}+" if stamp else ""


def _differences(image: Remote, wish: Wish) -> dict[str, object]:
    """Fields that are not as wished; what others added stays."""
    wished = {**wish.properties, DIGEST: wish.sha512}
    fields: dict[str, object] = {
        key: value for key, value in wished.items() if image.properties.get(key) != value
    }
    if image.min_disk != wish.min_disk:
        fields["min_disk"] = wish.min_disk
    if image.min_ram != wish.min_ram:
        fields["min_ram"] = wish.min_ram
    if wish.tags - image.tags:
        fields["tags"] = sorted(wish.tags | image.tags)
    if not image.is_draft and wish.visibility not in (None, image.visibility):
        assert wish.visibility is not None
        fields["visibility"] = wish.visibility.value
    return fields


def _rotate(
    visible: Sequence[Remote], named: Sequence[Remote], wish: Wish, memory: Memory
) -> Step | None:
    """Hide what is replaced, the oldest first; then delete what is more than is to be kept."""
    if len(visible) > 1:
        return Change(visible[0].id, {"os_hidden": True}, f"replaced by {visible[-1].id}")
    old = [image for image in named if image.hidden and image.is_ours]
    surplus = old[: max(0, len(old) - wish.keep)]
    if image := next((image for image in surplus if image.id not in memory.stuck), None):
        return Delete(image.id, "replaced long ago")
    return None


def _told(image: Remote) -> str:
    algorithm, digest = image.hash or ("digest", "unknown")
    return f"{image.size} bytes, {algorithm} {digest[:16]}"
