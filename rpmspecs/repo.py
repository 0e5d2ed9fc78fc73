"""A signed repository, published state by state: clients see one or the other, never both."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from rpmspecs.arrange import Change as Change
from rpmspecs.arrange import Make, Placed, arrange
from rpmspecs.errors import BadInput, RepositoryUnavailable, SigningFailed
from rpmspecs.metadata import parse_primary, parse_repomd, unpack
from rpmspecs.rpmfile import RpmFile, damaged, read_rpms
from rpmspecs.running import Programs
from rpmspecs.signing import Seen, Signer, Verifier, open_verifier
from rpmspecs.spec import RELEASE, find_spec
from rpmspecs.states import (
    INDEX,
    SOURCES,
    STATES,
    TREES,
    RoomIn,
    State,
    copy,
    keep_reachable,
    link,
    live_state,
    locked,
    new_folder,
    prune,
    settle,
    states,
    switch,
    write_record,
)
from rpmspecs.tools import require_tool

KEEP: Final = 5
GRACE: Final = timedelta(hours=1)
"""How long a state stays at least after it was replaced: an installation may be using it."""
SIGNED_AT_ONCE: Final = 20
"""Packages between two words of progress."""
NAME: Final = "rackseed"
REPO_FILE: Final = f"{NAME}.repo"
KEY_FILE: Final = f"RPM-GPG-KEY-{NAME}"
MIRRORS: Final = "mirrorlist"
"""A file of each state that names the state itself, so that a client asks one state alone."""


def publish(
    change: Change,
    repository: Path,
    signer: Signer,
    programs: Programs,
    *,
    keep: int = KEEP,
    grace: timedelta = GRACE,
    watch: Callable[[str], None] = lambda _: None,
) -> State:
    """Make a new state of `repository` and switch to it; returns the live state.

    `watch` is told in words what begins.

    Whatever goes wrong before the last step, also a kill, leaves the old state live. Where nothing
    would change, no state is made. Comps groups, modules and the like are carried over.

    Raises BadInput, SigningFailed, RepositoryUnavailable, DiskFull, and what `programs` raise.
    """
    if change.remove and live_state(repository) is None:
        raise BadInput(f"{repository} has no package to remove: nothing was published there yet")
    watch(f"looking at {len(change.add)} packages")
    add = read_rpms(change.add, programs.start)
    public_key = signer.public_key()
    with open_verifier(public_key, programs) as verifier, ExitStack() as stack:
        signed = _signed(add, verifier)
        stack.enter_context(locked(repository))  # which makes it, and what is damaged should not
        kept = states(repository)
        before = live_state(repository)
        if before is None:
            flat = read_rpms(_flat_packages(repository), programs.start)
            signed |= _signed(flat, verifier)
            add = [*flat, *add]
        url = change.url or (before.url if before else None)
        placed = arrange(before, kept, add, change, signer.key.fingerprint, signed)
        same_frame = before and (before.key, before.url) == (signer.key.fingerprint, url)
        if before and same_frame and {p.entry for p in placed} == set(before.packages):
            return before
        with RoomIn(repository) as room, new_folder(repository) as folder:
            room.need(_size(placed) + (4 << 20))
            number = 1 + max((state.number for state in kept), default=0)
            state = State(
                number=number,
                folder=folder,
                live=False,
                published=datetime.now(UTC).replace(microsecond=0),
                revision=_revision(change.epoch, [*(rpm.built for rpm in add)], kept),
                key=signer.key.fingerprint,
                url=url,
                packages=tuple(sorted((p.entry for p in placed), key=lambda e: e.path)),
            )
            place(placed, folder, signer, verifier, watch)
            watch("writing metadata")
            index(state, before, repository, signer, verifier, programs)
            write_frame(state, public_key)
            keep_reachable(folder, kept)
            watch("writing to disk")
            settle(folder)
            folder.rename(repository / STATES / str(number))
        switch(repository, number)
        prune(repository, keep, grace)
    found = live_state(repository)
    assert found is not None
    return found


def rollback(repository: Path, number: int) -> State:
    """Make a kept state live again, as it was. Raises BadInput."""
    if not states(repository):
        raise BadInput(f"{repository} has no state {number}: nothing was published there yet")
    with locked(repository):
        kept = states(repository)
        wanted = next((state for state in kept if state.number == number), None)
        if wanted is None:
            error = BadInput(f"{repository} has no state {number}")
            error.add_note(f"kept are {', '.join(str(s.number) for s in kept)}")
            raise error
        with RoomIn(repository):
            keep_reachable(wanted.folder, [state for state in kept if state is not wanted])
            settle(wanted.folder)
        switch(repository, number)
    return replace(wanted, live=True)


def place(
    placed: Sequence[Placed],
    folder: Path,
    signer: Signer,
    verifier: Verifier,
    watch: Callable[[str], None],
) -> None:
    """Put the packages into `folder`, all signed. Raises SigningFailed when one is not."""
    unsigned = []
    for each in placed:
        target = folder / each.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if each.make is Make.LINK:
            link(each.origin, target)
        else:
            copy(each.origin, target)
        if each.make is Make.SIGN:
            unsigned.append(target)
    for at in range(0, len(unsigned), SIGNED_AT_ONCE):
        watch(f"signing {len(unsigned)} packages, {at} are done")
        signer.sign_rpms(unsigned[at : at + SIGNED_AT_ONCE])
    watch(f"verifying {len(placed)} packages")
    for each in placed:
        if each.mtime is not None:
            os.utime(folder / each.entry.path, (each.mtime, each.mtime))
    paths = [folder / each.entry.path for each in placed]
    origins = dict(zip(paths, (each.origin for each in placed), strict=True))
    for path, seen in verifier.look_at(paths).items():
        if seen is not Seen.SIGNED:
            raise SigningFailed(f"{origins[path]} is {seen.value}, expected it whole and signed")


def index(
    state: State,
    before: State | None,
    repository: Path,
    signer: Signer,
    verifier: Verifier,
    programs: Programs,
) -> None:
    """Write and sign the metadata of each tree. Raises RepositoryUnavailable when it is wrong."""
    for tree in TREES:
        top = state.folder / tree
        paths = (e.path for e in state.packages if e.path.startswith(SOURCES) == bool(tree))
        expected = {str(Path(path).relative_to(tree)) for path in paths}
        if tree and not expected:
            continue
        (top / "Packages").mkdir(parents=True, exist_ok=True)
        _carry_over(before.folder / tree if before else repository / tree, top)
        createrepo(top, sorted(expected), state.revision, programs)
        listed = set(packages_of(top))
        if listed != expected:
            missing = ", ".join(sorted(listed ^ expected))
            raise RepositoryUnavailable(
                f"createrepo_c lists other packages than there are: {missing}"
            )
        verifier.check_file(top / INDEX, signer.sign_file(top / INDEX))


def createrepo(top: Path, packages: Sequence[str], revision: int, programs: Programs) -> None:
    """Make the metadata of `packages` below `top`: the same for the same ones and revision."""
    program = require_tool("createrepo_c", "createrepo-c or createrepo_c")
    wanted = top / "packages.list"
    wanted.write_text("".join(f"{path}\n" for path in packages), encoding="utf-8")
    words = ["--quiet", "--error-exit-val", "--no-database", "--checksum=sha256"]
    old = ["--update", "--keep-all-metadata"]
    # gzip: EL7's yum reads nothing newer.
    kind = ["--compress-type=gz", "--general-compress-type=gz", f"--pkglist={wanted}"]
    time = [f"--revision={revision}", "--set-timestamp-to-revision"]
    programs.run([program, *words, *old, *kind, *time, str(top)], timeout=3600)
    wanted.unlink()


def packages_of(top: Path) -> list[str]:
    """The paths of the packages that a folder's metadata lists. Raises RepositoryUnavailable."""
    try:
        files = parse_repomd((top / INDEX).read_bytes()).files
        primary = top / files["primary"]
        return [p.path for p in parse_primary(unpack(primary.name, primary.read_bytes()))]
    except OSError as error:
        raise RepositoryUnavailable(f"{error.filename}: {error.strerror}") from None
    except KeyError:
        raise RepositoryUnavailable(f"{top / INDEX} names no primary metadata") from None


def _carry_over(origin: Path, top: Path) -> None:
    """Metadata that createrepo_c keeps what it does not make itself of, and what it knows of."""
    found = origin / INDEX
    if found.is_file():
        for path in (INDEX, *parse_repomd(found.read_bytes()).files.values()):
            target = top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(origin / path, target)


def write_frame(state: State, public_key: str) -> None:
    """What a state has beside packages and metadata."""
    (state.folder / KEY_FILE).write_text(public_key, encoding="ascii")
    if state.url:
        here = f"{state.url.rstrip('/')}/{STATES}/{state.number}/\n"
        (state.folder / MIRRORS).write_text(here, encoding="utf-8")
        key = f"{state.url.rstrip('/')}/current/{KEY_FILE}"
        (state.folder / REPO_FILE).write_text(repo_file(state.url, key), encoding="utf-8")
    write_record(state)


def repo_file(url: str, key: str = f"file:///etc/pki/rpm-gpg/{KEY_FILE}") -> str:
    """dnf's and yum's description of the repository whose folder is at `url`."""
    return "\n".join(
        (
            f"[{NAME}]",
            f"name={NAME}",
            # Not baseurl: this names the live state once, and all files are asked of that one.
            f"mirrorlist={url.rstrip('/')}/current/{MIRRORS}",
            f"gpgkey={key}",
            "gpgcheck=1",
            "repo_gpgcheck=1",
            "metadata_expire=1h",
            "enabled=1",
            "",
        )
    )


def write_release(folder: Path, url: str, public_key: str, now: datetime) -> list[Path]:
    """What the package by which hosts use the repository is built from; returns the paths.

    Its version is `now`, so that each is newer than the one before. A spec that lies in the
    folder already stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version = f"# version {now.astimezone(UTC):%Y%m%d.%H%M%S}\n"
    spec = find_spec(RELEASE)
    contents = {REPO_FILE: version + repo_file(url), KEY_FILE: public_key}
    if not (folder / spec.name).exists():
        contents[spec.name] = spec.read_text(encoding="utf-8")
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]


def _flat_packages(repository: Path) -> list[Path]:
    """The packages of a repository without states, which the first state takes over."""
    if not (repository / INDEX).is_file():
        return []
    return [repository / path for path in packages_of(repository)]


def _signed(add: Sequence[RpmFile], verifier: Verifier) -> set[Path]:
    """Those that the key signed. Raises BadInput when one is damaged."""
    found = verifier.look_at([rpm.path for rpm in add])
    if broken := [path for path, seen in found.items() if seen is Seen.DAMAGED]:
        raise damaged(broken)
    return {path for path, seen in found.items() if seen is Seen.SIGNED}


def _size(placed: Sequence[Placed]) -> int:
    return sum(p.origin.stat().st_size for p in placed if p.make is not Make.LINK)


def _revision(epoch: int | None, built: Sequence[int], kept: Sequence[State]) -> int:
    """Greater than all before: yum takes no older metadata than it has."""
    least = 1 + max((state.revision for state in kept), default=-1)
    return max(least, epoch if epoch is not None else max(built, default=0))
