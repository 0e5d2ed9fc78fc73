"""`rackseed rpm publish` and its kin: the repository that hosts install from."""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from provision.cli import report
from provision.cli.options import JsonOption
from provision.errors import BadInput

if TYPE_CHECKING:
    from rpmspecs.gpg import Passphrase
    from rpmspecs.running import Programs
    from rpmspecs.signing import Signer
    from rpmspecs.states import State

log = logging.getLogger(__name__)

RepositoryOption = Annotated[
    Path, typer.Option("--repository", metavar="DIR", help="The repository, one for each target.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="What to sign with: a fingerprint, key id or owner that gpg knows (GNUPGHOME), or a "
        "file with a secret key. By default the key of the live state.",
    ),
]
MakeKeyOption = Annotated[
    bool, typer.Option("--make-key", help="Make a new key first, and say where it lies.")
]
OwnerOption = Annotated[
    str | None,
    typer.Option("--owner", metavar="TEXT", help="Whose the new key is: NAME <EMAIL>."),
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="File (mode 0600) or pipe with the key's passphrase; else gpg's agent asks.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", callback=lambda url: check_url(url), help="Where hosts reach DIR."
    ),
]


def publish(
    results: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULTS", help="RPMs, or folders with RPMs, as builds leave them."),
    ] = None,
    repository: RepositoryOption = Path("repository"),
    key: KeyOption = None,
    make_key: MakeKeyOption = False,
    owner: OwnerOption = None,
    passphrase_file: PassphraseOption = None,
    url: UrlOption = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave a package out of the new state."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let packages replace others of the same release.")
    ] = False,
    keep: Annotated[int, typer.Option(metavar="N", min=0, help="Old states to keep.")] = 5,
    as_json: JsonOption = False,
) -> int:
    """Sign packages and publish them as a new state.

    It has all that the repository has already, too. Everything is made and verified beside the live
    state; then one step switches. Source packages go to a repository of their own,
    DIR/current/source. A state that was live within the last hour stays.

    Examples:
      rackseed rpm publish results/fedora-43 --repository /srv/rpm/fedora-43 --make-key
      rackseed rpm publish tool-1-1.noarch.rpm --repository /srv/rpm/fedora-43
      rackseed rpm publish --repository r --key ABCD1234 --url http://10.20.0.3/rpm/fedora-43
    """
    from rpmspecs import repo
    from rpmspecs.rpmfile import read_rpms

    found = find_rpms(results or [])
    change = repo.Change(
        add=tuple(found),
        remove=tuple(remove or ()),
        replace=replace,
        url=url,
        epoch=source_date_epoch(os.environ.get("SOURCE_DATE_EPOCH")),
    )
    if not change.add and not change.remove and not (key or make_key or url):
        raise BadInput("nothing to publish, expected RPMs, folders with RPMs, or --remove NAME")
    programs = our_programs()
    if make_key and not key:
        read_rpms(found, programs.start)  # no new key for what cannot be published
    with chosen_key(key, make_key, owner, passphrase_file, repository, programs) as signer:
        before = live_number(repository)
        with telling(Console(stderr=True)) as tell:
            state = repo.publish(change, repository, signer, programs, keep=keep, watch=tell)
        home = signer.key.home
    if as_json:
        made = {"made_key_in": str(home)} if make_key else {}
        report.print_json({**as_facts(state), "new": state.number != before, **made})
    elif state.number == before:
        report.print_good(f"{repository}: state {state.number} has all that already")
    else:
        count = len(state.packages)
        report.print_good(f"{repository}: state {state.number} is live with {count} packages")
    return report.ExitStatus.DONE


def list_states(
    repository: RepositoryOption = Path("repository"), as_json: JsonOption = False
) -> int:
    """Show the states of a repository that are kept, oldest first.

    Example:
      rackseed rpm states --repository /srv/rpm/fedora-43
    """
    from rpmspecs.states import states

    kept = states(repository)
    if not kept and not as_json:
        report.show_warning(f"{repository} has no states: nothing was published there yet")
    if as_json:
        report.print_json([as_facts(state) for state in kept])
        return report.ExitStatus.DONE
    rows = [
        (
            f"{state.number}{' *' if state.live else ''}",
            f"{state.published:%Y-%m-%d %H:%M}Z",
            str(len(state.packages)),
            state.key[-16:],
            state.url or "-",
        )
        for state in kept
    ]
    report.print_table(("state", "published", "packages", "key", "url"), rows)
    return report.ExitStatus.DONE


def rollback(
    number: Annotated[int, typer.Argument(metavar="STATE", help="As `rackseed rpm states` says.")],
    repository: RepositoryOption = Path("repository"),
    as_json: JsonOption = False,
) -> int:
    """Make a kept state of a repository live again, as it was.

    Nothing is signed anew. Hosts that have newer packages keep them until `dnf distro-sync`; yum
    on EL7 takes no older metadata than it has before `yum clean metadata`.

    Example:
      rackseed rpm rollback 4 --repository /srv/rpm/fedora-43
    """
    from rpmspecs.repo import rollback as roll_back

    state = roll_back(repository, number)
    if as_json:
        report.print_json(as_facts(state))
    else:
        count = len(state.packages)
        report.print_good(f"{repository}: state {number} is live again with {count} packages")
    return report.ExitStatus.DONE


def release(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder for them, new or not.")
    ],
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where hosts will reach the repository.")
    ],
    repository: RepositoryOption = Path("repository"),
    key: KeyOption = None,
    make_key: MakeKeyOption = False,
    owner: OwnerOption = None,
    passphrase_file: PassphraseOption = None,
) -> int:
    """Write spec and sources of the repository's own package.

    rackseed-release names the repository to a host. Its version is the time, so that hosts take the
    newest. Build it by its folder, publish it like any other.

    Example:
      rackseed rpm release my-release --url http://10.20.0.3/rpm/fedora-43 --make-key
      rackseed rpm build my-release --target fedora-43
    """
    from rpmspecs.repo import write_release

    check_url(url)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is no folder, expected one for the spec and its sources")
    programs = our_programs()
    with chosen_key(key, make_key, owner, passphrase_file, repository, programs) as signer:
        written = write_release(folder, url, signer.public_key(), datetime.now(UTC))
    for path in written:
        report.print_good(f"wrote {path}")
    return report.ExitStatus.DONE


@contextmanager
def chosen_key(
    key: str | None,
    make: bool,
    owner: str | None,
    passphrase_file: Path | None,
    repository: Path,
    programs: "Programs",
) -> "Iterator[Signer]":
    """The key that the options ask for, ready to sign. Raises BadInput, SigningFailed."""
    from rpmspecs import signing
    from rpmspecs.gpg import read_passphrase

    if key and make:
        raise BadInput("--key and --make-key exclude each other, expected one of them")
    if owner and not make:
        raise BadInput("--owner is about a new key, expected --make-key too")
    passphrase: Passphrase | None = None
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    if make:
        owner = owner or f"rackseed packages <rackseed@{socket.gethostname()}>"
        made = signing.make_key(owner, our_keys(), programs, passphrase)
        tell_key(made.fingerprint, made.owner, made.home, locked=passphrase is not None)
        key = made.fingerprint
    key = key or live_key(repository)
    if key is None:
        error = BadInput("no key to sign with: --key is missing, and there is no state before")
        error.add_note("--key FINGERPRINT; or --make-key, which makes one and says where")
        raise error
    with signing.open_key(key, key_homes(), programs, passphrase) as signer:
        yield signer


@contextmanager
def telling(people: Console) -> "Iterator[Callable[[str], None]]":
    """A line on a terminal that says what goes on; elsewhere the log does."""
    if not people.is_terminal:
        yield log.info
        return
    with people.status("") as status:
        yield status.update


def tell_key(fingerprint: str, owner: str, home: Path, *, locked: bool) -> None:
    """Say on stderr that there is a new key: hosts will trust whatever it signs."""
    how = "with your passphrase" if locked else "without a passphrase"
    message = f"made a new key {how}: {fingerprint} ({owner}), in {home} (mode 0700)"
    report.show_warning(message)


def key_homes() -> list[Path]:
    """Where keys are looked for: the user's own folder of gpg, then ours."""
    own = os.environ.get("GNUPGHOME")
    return [Path(own) if own else Path.home() / ".gnupg", our_keys()]


def our_keys() -> Path:
    """Where keys that we made lie (file-hierarchy(7); XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/rackseed/gnupg")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "rackseed" / "gnupg"


def live_key(repository: Path) -> str | None:
    """The fingerprint of the key that signed what is live."""
    from rpmspecs.states import live_state

    state = live_state(repository)
    return state.key if state else None


def live_number(repository: Path) -> int | None:
    """The number of the live state."""
    from rpmspecs.states import live_state

    state = live_state(repository)
    return state.number if state else None


def our_programs() -> "Programs":
    """How libraries start programs."""
    from provision.run import run, start
    from rpmspecs.running import Programs

    return Programs(run, start)


def find_rpms(results: Sequence[Path]) -> list[Path]:
    """The RPMs that are named, and those in the folders that are. Raises BadInput."""
    found: list[Path] = []
    for path in results:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.rpm") if is_result(p.relative_to(path)))
            if not inside:
                raise BadInput(f"{path} holds no RPMs")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"{path} does not exist, expected an RPM or a folder with RPMs")
    targets = sorted({target for path in found if (target := target_of(path))})
    if len(targets) > 1:
        error = BadInput(f"these packages are for {' and '.join(targets)}, expected one target")
        error.add_note(f"name the folder of one:  {results[0] / targets[0]}")
        raise error
    return found


def target_of(rpm: Path) -> str | None:
    """What a package was built for, if the record of its build lies beside it."""
    from rpmspecs.results import read_record

    record = read_record(rpm.parent)
    target = record.get("target") if record else None
    return target if isinstance(target, str) else None


def is_result(path: Path) -> bool:
    """Whether a path belongs to a build that ended well."""
    return not any(part.startswith(".") or part.endswith(".failed") for part in path.parts)


def source_date_epoch(text: str | None) -> int | None:
    """SOURCE_DATE_EPOCH as a number. Raises BadInput."""
    if text is None:
        return None
    if not text.isdecimal():
        raise BadInput(f"SOURCE_DATE_EPOCH is {text!r}, expected seconds since 1970")
    return int(text)


def check_url(url: str | None) -> str | None:
    """A URL that dnf can use. Raises BadInput."""
    if url is not None and not re.fullmatch(r"((https?|ftp)://[^/\s]|file:///)\S*", url):
        raise BadInput(
            f"--url: {url!r} is no URL, expected one such as http://10.20.0.3/rpm/fedora-43"
        )
    return url


def as_facts(state: "State") -> dict[str, Any]:
    """A state for JSON."""
    return {
        "state": state.number,
        "live": state.live,
        "folder": str(state.folder),
        "published": state.published.isoformat(),
        "revision": state.revision,
        "key": state.key,
        "url": state.url,
        "packages": [entry.nevra for entry in state.packages],
    }
