"""gpg: the key that signs packages and metadata, and the proof that it did."""

import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from rpmspecs.errors import BadInput, SigningFailed
from rpmspecs.running import Programs
from rpmspecs.tools import require_tool

SOCKET_ROOM: Final = 80
"""Characters of a gpg folder that leave room for its sockets' names (unix(7): 108 in all)."""
AGENT_SECONDS: Final = 10.0
"""Seconds that gpg-agent may take to listen."""
FILES_AT_ONCE: Final = 200
"""Files on one command line."""
KIND: Final = "rsa4096"
"""Of a key that we make: EL7's rpm knows no elliptic curves."""
ARMOR: Final = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What unlocks a key; never shown."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A key that can sign."""

    fingerprint: str
    owner: str
    home: Path
    """The gpg folder that holds the secret part."""
    signs_with: str
    """As gpg takes it: the primary key where it can sign, for rpm before 4.14 knows no other."""


@contextmanager
def open_key(
    name: str,
    homes: Sequence[Path],
    programs: Programs,
    passphrase: Passphrase | None = None,
) -> Iterator["Signer"]:
    """The key called `name`, ready to sign; gpg's agent runs no longer than this context.

    `name` is a file that holds a secret key, else a fingerprint, key id or part of an owner's name
    that is looked for in `homes`. An agent that runs already is used, and left alone.

    Raises SigningFailed.
    """
    with ExitStack() as stack:
        path = Path(name).expanduser()
        imported = path.is_file()
        home = stack.enter_context(_private_home()) if imported else _home_of(name, homes, programs)
        gpg = stack.enter_context(_open_home(home, programs))
        stack.enter_context(gpg.agent())
        if imported:
            _import(gpg, path)
        key = _only(name, gpg.secret_keys(home), [home])
        yield Signer(key, gpg, stack.enter_context(_unlocking(passphrase)))


def make_key(
    owner: str, home: Path, programs: Programs, passphrase: Passphrase | None = None
) -> Key:
    """Make a key in `home`, which is made with mode 0700; it never expires.

    Raises SigningFailed when there is one of that owner already.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    with ExitStack() as stack:
        gpg = stack.enter_context(_open_home(home, programs))
        stack.enter_context(gpg.agent())
        for key in gpg.secret_keys(home):
            if key.owner == owner:
                error = SigningFailed(f"{home} holds a key of {owner} already")
                error.add_note(f"use it:  --key {key.fingerprint}")
                raise error
        before = {key.fingerprint for key in gpg.secret_keys(home)}
        unlock = stack.enter_context(_unlocking(passphrase or Passphrase("")))
        gpg("--batch", *unlock, "--quick-generate-key", owner, KIND, "sign", "never")
        return next(key for key in gpg.secret_keys(home) if key.fingerprint not in before)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one key; made by `open_key`."""

    key: Key
    _gpg: "_Gpg"
    _unlock: tuple[str, ...]

    def public_key(self) -> str:
        """The public key, armored."""
        return self._gpg("--batch", "--armor", "--export", self.key.fingerprint)

    def sign_rpms(self, paths: Sequence[Path]) -> None:
        """Sign packages, each replaced by its signed self."""
        macros = {
            "__gpg": require_tool("gpg", "gnupg"),  # Debian's has no path, and execve(2) needs one
            "_openpgp_sign": "gpg",  # rpm 6 has another
            "_gpg_name": self.key.signs_with,
            "_gpg_digest_algo": "sha256",
            "_gpg_sign_cmd_extra_args": shlex.join(("--batch", *self._unlock)),
        }
        defines = [word for item in macros.items() for word in ("--define", " ".join(item))]
        for part in _parts(paths):
            argv = [
                require_tool("rpmsign", "rpm-sign or rpm"),
                *defines,
                "--addsign",
                *map(str, part),
            ]
            self._gpg.programs.run(argv, env=self._gpg.environment, timeout=3600)

    def sign_file(self, path: Path) -> Path:
        """A detached armored signature, `PATH.asc`."""
        signature = path.with_name(f"{path.name}.asc")
        signature.unlink(missing_ok=True)
        user = ("--local-user", self.key.signs_with, "--digest-algo", "SHA256")
        make = ("--armor", "--output", str(signature), "--detach-sign", str(path))
        self._gpg("--batch", *self._unlock, *user, *make)
        return signature


class Seen(Enum):
    """What a package proved to be."""

    SIGNED = "signed"
    UNSIGNED = "not signed by the key"
    DAMAGED = "damaged"


_SEEN: Final[Mapping[str, Seen]] = {
    "digests signatures OK": Seen.SIGNED,
    "digests SIGNATURES NOT OK": Seen.UNSIGNED,
}
"""By the words of rpmkeys, which writes what is wrong in capitals."""


@contextmanager
def open_verifier(public_key: str, programs: Programs) -> Iterator["Verifier"]:
    """Checks against this public key and no other."""
    with _private_home() as home:
        path = home / "key.asc"
        path.write_text(public_key, encoding="ascii")
        gpg = _Gpg(home, programs)
        gpg("--batch", "--import", str(path))
        keyring = home / "rpmdb"
        keyring.mkdir()
        verifier = Verifier(keyring, gpg)
        verifier.rpmkeys("--import", str(path))
        yield verifier


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures; made by `open_verifier`."""

    keyring: Path
    _gpg: "_Gpg"

    def look_at(self, paths: Sequence[Path]) -> Mapping[Path, "Seen"]:
        """What each package is worth."""
        found: dict[Path, Seen] = {}
        for part in _parts(paths):
            # rpmkeys ends with the number of bad ones, and we want each one's line.
            words = shlex.join(self._rpmkeys("--checksig", *map(str, part)))
            told = self._gpg.programs.run(["sh", "-c", f"{words} || true"], timeout=3600)
            lines = dict(line.rpartition(": ")[::2] for line in told.splitlines())
            found |= {path: _SEEN.get(lines.get(str(path), ""), Seen.DAMAGED) for path in part}
        return found

    def check_file(self, path: Path, signature: Path) -> None:
        """That `signature` is the key's for `path`. Raises what `Programs.run` does."""
        self._gpg("--batch", "--trust-model", "always", "--verify", str(signature), str(path))

    def rpmkeys(self, *words: str) -> str:
        """Run rpmkeys with this keyring."""
        return self._gpg.programs.run(self._rpmkeys(*words))

    def _rpmkeys(self, *words: str) -> list[str]:
        # A package without any signature passes unless its level is asked for.
        defines = ("--define", "_pkgverify_level all", "--define", f"_keyringpath {self.keyring}")
        return [require_tool("rpmkeys", "rpm"), "--dbpath", str(self.keyring), *defines, *words]


@dataclass(frozen=True, slots=True)
class _Gpg:
    """gpg with one folder."""

    home: Path
    programs: Programs

    def __call__(self, *words: str) -> str:
        argv = [require_tool("gpg", "gnupg"), *words]
        return self.programs.run(argv, env=self.environment, timeout=600)

    @property
    def environment(self) -> Mapping[str, str]:
        """With the terminal on which pinentry may ask."""
        terminal = {"GPG_TTY": os.ttyname(0)} if sys.stdin and sys.stdin.isatty() else {}
        return {"GNUPGHOME": str(self.home), **terminal}

    def secret_keys(self, home: Path) -> list[Key]:
        """Every key here that can sign; `home` is this folder's full name."""
        words = ("--batch", "--with-colons", "--list-secret-keys")
        return parse_keys(self(*words), home)

    @contextmanager
    def agent(self) -> Iterator[None]:
        """gpg-agent, unless it runs already; ended after, also when we are killed."""
        words = ["gpgconf", "--list-dirs", "agent-socket"]
        listens = Path(self.programs.run(words, env=self.environment).strip())
        if _answers(listens):
            yield
            return
        # It ends with the program that it is given, and that one ends with us.
        argv = ["gpg-agent", "--quiet", "--no-detach", "--daemon", "sleep", "infinity"]
        child = self.programs.start(argv, env=self.environment)
        try:
            _wait_until(listens, answers=True)
            yield
        finally:
            try:
                self.programs.run(["gpgconf", "--kill", "gpg-agent"], env=self.environment)
            finally:
                child.stop()
                _wait_until(listens, answers=False)  # or the next one would talk to this one


# The fields of gpg's --with-colons (its doc/DETAILS), counted from 0.
_VALIDITY, _KEY_ID, _OWNER, _CAPABILITIES, _WHERE = 1, 4, 9, 11, 14
_FINGERPRINT = 9
_UNFIT = frozenset("reidn")
"""Revoked, expired, invalid, disabled, not valid."""


def parse_keys(listing: str, home: Path) -> list[Key]:
    """The keys that can sign, from `gpg --with-colons --list-secret-keys`."""
    keys: list[Key] = []
    fingerprint = owner = signs_with = ""
    fit = primary = False

    def close() -> None:
        if fingerprint and signs_with:
            keys.append(Key(fingerprint, owner, home, f"{signs_with}!"))

    for line in listing.splitlines():
        fields = [*line.split(":"), *[""] * (_WHERE + 1)]
        match fields[0]:
            case "sec" | "ssb" as kind:
                primary = kind == "sec"
                if primary:
                    close()
                    fingerprint = owner = signs_with = ""
                able = "s" in fields[_CAPABILITIES] and fields[_WHERE] != "#"
                fit = able and fields[_VALIDITY] not in _UNFIT
            case "fpr":  # codespell:ignore fpr
                if primary:
                    fingerprint = fields[_FINGERPRINT]
                if fit and not signs_with:
                    signs_with = fields[_FINGERPRINT]
            case "uid":
                owner = owner or fields[_OWNER].replace("\\x3a", ":")
    close()
    return keys


def choose_key(name: str, keys: Sequence[Key]) -> list[Key]:
    """The keys that `name` may mean: a fingerprint or key id, else a part of the owner."""
    digits = name.upper().replace(" ", "").removeprefix("0X").removesuffix("!")
    if len(digits) >= 8 and set(digits) <= set("0123456789ABCDEF"):
        by_number = [key for key in keys if key.fingerprint.endswith(digits)]
        if by_number:
            return by_number
    return [key for key in keys if name.lower() in key.owner.lower()]


def _home_of(name: str, homes: Sequence[Path], programs: Programs) -> Path:
    found: list[Key] = []
    for home in homes:
        if home.is_dir():
            with _open_home(home, programs) as gpg, gpg.agent():
                found += choose_key(name, gpg.secret_keys(home))
    keys = {key.fingerprint: key for key in reversed(found)}
    return _only(name, list(keys.values()), homes).home


def _only(name: str, keys: Sequence[Key], homes: Sequence[Path]) -> Key:
    places = ", ".join(map(str, homes))
    if not keys:
        error = SigningFailed(f"there is no key '{name}' that can sign in {places}")
        error.add_note("gpg --list-secret-keys shows yours; --make-key makes one")
        raise error
    if len(keys) > 1:
        error = SigningFailed(f"{len(keys)} keys are called '{name}', expected one")
        error.add_note("name one: " + ", ".join(f"{k.fingerprint} ({k.owner})" for k in keys))
        raise error
    return keys[0]


def _import(gpg: _Gpg, path: Path) -> None:
    try:
        begin = path.read_bytes()[:4096]
    except OSError as cause:
        raise SigningFailed(f"{path} cannot be read: {cause.strerror}") from None
    if b"-----BEGIN" in begin and ARMOR not in begin:
        error = SigningFailed(
            f"{path} holds no secret key, and nothing is signed with a public one"
        )
        error.add_note("gpg --armor --export-secret-keys ID writes such a file")
        raise error
    gpg("--batch", "--import", str(path))


@contextmanager
def _open_home(home: Path, programs: Programs) -> Iterator[_Gpg]:
    """gpg with `home` under a name that is short enough for its sockets."""
    if len(str(home)) <= SOCKET_ROOM:
        yield _Gpg(home, programs)
        return
    with _private_home() as short:
        link = short / "h"
        link.symlink_to(home.absolute())
        yield _Gpg(link, programs)


@contextmanager
def _private_home() -> Iterator[Path]:
    """An empty folder for us alone, in memory where the system has such a place."""
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", tempfile.gettempdir(), "/tmp"]
    place = next(
        (p for p in places if p and len(p) < SOCKET_ROOM // 2 and os.access(p, os.W_OK)), None
    )
    folder = Path(tempfile.mkdtemp(prefix="gpg-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # sockets vanish by themselves


@contextmanager
def _unlocking(passphrase: Passphrase | None) -> Iterator[tuple[str, ...]]:
    """gpg's options for a passphrase, which it reads from memory of ours; none: pinentry asks."""
    if passphrase is None:
        yield ()
        return
    descriptor = os.memfd_create("passphrase", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, passphrase.text.encode() + b"\n")
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        yield ("--pinentry-mode", "loopback", "--passphrase-file", path)
    finally:
        os.close(descriptor)


def read_passphrase(path: Path) -> Passphrase:
    """The first line of a file or pipe. Raises BadInput when others may read it."""
    try:
        if path.is_file() and path.stat().st_mode & 0o077:
            error = BadInput(f"{path} can be read by others, expected mode 0600")
            error.add_note(f"chmod 600 {path}")
            raise error
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise BadInput(f"{path}: {cause.strerror}, expected a file with a passphrase") from None
    return Passphrase(text.split("\n", 1)[0])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True


def _wait_until(path: Path, *, answers: bool) -> None:
    deadline = time.monotonic() + AGENT_SECONDS
    while _answers(path) is not answers:
        if time.monotonic() > deadline:
            does = "does not listen" if answers else "does not end"
            raise SigningFailed(f"gpg-agent {does} at {path}")
        time.sleep(0.01)


def _parts(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[at : at + FILES_AT_ONCE] for at in range(0, len(paths), FILES_AT_ONCE))
