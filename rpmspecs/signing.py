"""gpg: the key that signs packages and metadata, and the proof that it did."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from rpmspecs.errors import BadInput, SigningFailed
from rpmspecs.gpg import Gpg, Passphrase, open_home, private_home, unlocking
from rpmspecs.running import Programs
from rpmspecs.tools import require_tool

FILES_AT_ONCE: Final = 200
"""Files on one command line."""
KIND: Final = "rsa4096"
"""Of a key that we make: EL7's rpm knows no elliptic curves."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that can sign."""

    fingerprint: str
    owner: str
    home: Path
    """The gpg folder that holds the secret part."""
    signs_with: str
    """As gpg takes it: the primary key where it can, for EL7's rpm and dnf5 know no other."""


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

    Raises BadInput, and SigningFailed where gpg's agent fails.
    """
    with ExitStack() as stack:
        path = Path(name).expanduser()
        imported = path.is_file()
        home = stack.enter_context(private_home()) if imported else _home_of(name, homes, programs)
        gpg = stack.enter_context(open_home(home, programs))
        stack.enter_context(gpg.agent())
        if imported:
            _import(gpg, path, home)
        key = _only(name, secret_keys(gpg, home), [home])
        signer = Signer(key, gpg, stack.enter_context(unlocking(passphrase)))
        signer.try_out()
        yield signer


def make_key(
    owner: str, home: Path, programs: Programs, passphrase: Passphrase | None = None
) -> Key:
    """Make a key in `home`, which is made with mode 0700; it never expires.

    Raises BadInput when there is one of that owner already.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    with ExitStack() as stack:
        gpg = stack.enter_context(open_home(home, programs))
        stack.enter_context(gpg.agent())
        for key in secret_keys(gpg, home):
            if key.owner == owner:
                error = BadInput(f"{home} holds a key of {owner} already")
                error.add_note(f"use it:  --key {key.fingerprint}")
                raise error
        before = {key.fingerprint for key in secret_keys(gpg, home)}
        unlock = stack.enter_context(unlocking(passphrase or Passphrase("")))
        gpg("--batch", *unlock, "--quick-generate-key", owner, KIND, "sign", "never")
        return next(key for key in secret_keys(gpg, home) if key.fingerprint not in before)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one key; made by `open_key`."""

    key: Key
    _gpg: Gpg
    _unlock: tuple[str, ...]

    def try_out(self) -> None:
        """Sign something: the agent asks now for what it needs, not in the middle of work.

        Raises BadInput for a wrong passphrase, SigningFailed for all else.
        """
        with private_home() as folder:
            probe = folder / "probe"
            probe.write_bytes(b"probe")
            said = self._gpg.tried(*self._to_sign(probe, folder / "signature"))
        if said.status and "Bad passphrase" in said.err:
            raise BadInput(f"this is not the passphrase of the key {self.key.fingerprint}")
        if said.status:
            why = " ".join(dict.fromkeys(said.err.splitlines()))
            error = SigningFailed(f"the key {self.key.fingerprint} cannot sign; {why}")
            error.add_note("where gpg cannot ask for its passphrase:  --passphrase-file FILE")
            raise error

    def public_key(self) -> str:
        """The public key, armored."""
        return self._gpg("--batch", "--armor", "--export", self.key.fingerprint)

    def sign_rpms(self, paths: Sequence[Path]) -> None:
        """Sign packages, each replaced by its signed self, without any signature from before."""
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
                "--resign",
                *map(str, part),
            ]
            self._gpg.programs.run(argv, env=self._gpg.environment, timeout=3600)

    def sign_file(self, path: Path) -> Path:
        """A detached armored signature, `PATH.asc`."""
        signature = path.with_name(f"{path.name}.asc")
        signature.unlink(missing_ok=True)
        self._gpg(*self._to_sign(path, signature))
        return signature

    def _to_sign(self, path: Path, signature: Path) -> Sequence[str]:
        user = ("--local-user", self.key.signs_with, "--digest-algo", "SHA256")
        make = ("--armor", "--output", str(signature), "--detach-sign", str(path))
        return ("--batch", *self._unlock, *user, *make)


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
    with private_home() as home:
        path = home / "key.asc"
        path.write_text(public_key, encoding="ascii")
        gpg = Gpg(home, programs)
        gpg("--batch", "--no-autostart", "--import", str(path))
        keyring = home / "rpmdb"
        keyring.mkdir()
        verifier = Verifier(keyring, gpg)
        verifier.rpmkeys("--import", str(path))
        yield verifier


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures; made by `open_verifier`."""

    keyring: Path
    _gpg: Gpg

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
        how = ("--batch", "--no-autostart", "--trust-model", "always")
        self._gpg(*how, "--verify", str(signature), str(path))

    def rpmkeys(self, *words: str) -> str:
        """Run rpmkeys with this keyring."""
        return self._gpg.programs.run(self._rpmkeys(*words))

    def _rpmkeys(self, *words: str) -> list[str]:
        # A package without any signature passes unless its level is asked for.
        defines = ("--define", "_pkgverify_level all", "--define", f"_keyringpath {self.keyring}")
        return [require_tool("rpmkeys", "rpm"), "--dbpath", str(self.keyring), *defines, *words]


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


def secret_keys(gpg: Gpg, home: Path) -> list[Key]:
    """Every key in a folder that can sign; `home` is its full name."""
    return parse_keys(gpg("--batch", "--with-colons", "--list-secret-keys"), home)


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
            with open_home(home, programs) as gpg, gpg.agent():
                found += choose_key(name, secret_keys(gpg, home))
    keys = {key.fingerprint: key for key in reversed(found)}
    return _only(name, list(keys.values()), homes).home


def _only(name: str, keys: Sequence[Key], homes: Sequence[Path]) -> Key:
    places = ", ".join(map(str, homes))
    if not keys:
        error = BadInput(f"there is no key '{name}' that can sign in {places}")
        error.add_note("gpg --list-secret-keys shows yours; --make-key makes one")
        raise error
    if len(keys) > 1:
        error = BadInput(f"{len(keys)} keys are called '{name}', expected one")
        error.add_note("name one: " + ", ".join(f"{k.fingerprint} ({k.owner})" for k in keys))
        raise error
    return keys[0]


def _import(gpg: Gpg, path: Path, home: Path) -> None:
    if gpg.tried("--batch", "--import", str(path)).status == 0 and secret_keys(gpg, home):
        return
    try:
        path.open("rb").close()
    except OSError as cause:
        raise BadInput(f"{path} cannot be read: {cause.strerror}") from None
    error = BadInput(f"{path} holds no secret key that can sign, expected one")
    error.add_note("gpg --armor --export-secret-keys ID writes such a file")
    raise error


def _parts(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[at : at + FILES_AT_ONCE] for at in range(0, len(paths), FILES_AT_ONCE))
