"""gpg signs with the key that was meant, gives no passphrase away, and leaves no agent behind."""

import logging
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from provision.errors import ProgramFailed
from rpmspecs.errors import BadInput
from rpmspecs.gpg import Passphrase, private_home
from rpmspecs.signing import Key, Seen, make_key, open_key, open_verifier
from tests.repository import PROGRAMS, copied, make_rpm
from tests.tools import require_tool

MARK = f"RACKSEED_TESTS={os.getpid()}"
"""In the environment of all that these tests start."""
SECRET = Passphrase("correct horse battery staple")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """A key with a passphrase, in a folder whose name is too long for gpg's sockets."""
    require_tool("gpg", "gnupg")
    folder = tmp_path_factory.mktemp("keys") / ("long" * 20)
    return make_key("Fixture <fixture@example.org>", folder, PROGRAMS, SECRET)


@pytest.fixture(scope="module")
def rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rpm(tmp_path_factory.mktemp("rpms"), "signed-fixture", "1")


def agents(since: set[int] = frozenset()) -> set[int]:
    """The numbers of the agents that run and are ours: others may sign on this machine too."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            ours = MARK.encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours and words[0].endswith(b"gpg-agent"):
            found.add(int(process.name))
    return found - since


@pytest.fixture(autouse=True, scope="module")
def marked() -> Iterator[None]:
    """What is started from here on can be told from what others started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*MARK.split("="))
        yield


@pytest.fixture(autouse=True)
def no_agent_is_left() -> Iterator[None]:
    before = agents()
    yield
    deadline = time.monotonic() + 10
    while left := agents(before):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_what_is_signed_is_known_by_the_public_key_alone(key, rpm, tmp_path):
    signed, unsigned = copied(rpm, tmp_path / "signed"), copied(rpm, tmp_path / "unsigned")
    (tmp_path / "text").write_text("text")
    with open_key(key.fingerprint[-16:], [key.home], PROGRAMS, SECRET) as signer:
        signer.sign_rpms([signed])
        signature = signer.sign_file(tmp_path / "text")
        public_key = signer.public_key()
    with open_verifier(public_key, PROGRAMS) as verifier:
        seen = verifier.look_at([signed, unsigned])
        assert seen == {signed: Seen.SIGNED, unsigned: Seen.UNSIGNED}
        verifier.check_file(tmp_path / "text", signature)
        (tmp_path / "text").write_text("tex")
        with pytest.raises(ProgramFailed, match="BAD signature"):
            verifier.check_file(tmp_path / "text", signature)


def test_a_passphrase_is_in_no_log_and_on_no_command_line(key, rpm, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with open_key("fixture@example.org", [key.home], PROGRAMS, SECRET) as signer:
        signer.sign_rpms([copied(rpm, tmp_path)])
    assert "rpmsign" in caplog.text, "each command line is logged"
    assert "horse" not in caplog.text


def test_a_wrong_passphrase_is_told_before_anything_is_done(key):
    with (
        pytest.raises(BadInput, match=f"this is not the passphrase of the key {key.fingerprint}"),
        open_key(key.fingerprint, [key.home], PROGRAMS, Passphrase("wrong")),
    ):
        pass


def test_a_key_in_a_file_signs_too_and_a_public_one_is_told_as_such(tmp_path):
    made = make_key("Other <other@example.org>", tmp_path / "k", PROGRAMS)
    assert made.home.stat().st_mode & 0o777 == 0o700
    environment = {**os.environ, "GNUPGHOME": str(made.home)}
    for option, name in (("--export-secret-keys", "secret.asc"), ("--export", "public.asc")):
        words = ["gpg", "--batch", "--armor", "--output", str(tmp_path / name), option]
        subprocess.run(words, env=environment, check=True)
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)
    (tmp_path / "text").write_text("text")
    with open_key(str(tmp_path / "secret.asc"), [], PROGRAMS) as signer:
        assert signer.key.fingerprint == made.fingerprint
        assert signer.sign_file(tmp_path / "text").is_file()
    for name in ("public.asc", "text"):
        with (
            pytest.raises(BadInput, match=f"{name} holds no secret key that can sign"),
            open_key(str(tmp_path / name), [], PROGRAMS),
        ):
            pass
    with pytest.raises(BadInput, match=r"holds a key of Other <other@example\.org> already"):
        make_key("Other <other@example.org>", made.home, PROGRAMS)


def test_an_unknown_or_doubtful_name_is_no_key(tmp_path):
    home = tmp_path / "k"
    make_key("First <one@example.org>", home, PROGRAMS)
    make_key("Second <two@example.org>", home, PROGRAMS)
    with (
        pytest.raises(BadInput, match="there is no key 'third'"),
        open_key("third", [home, tmp_path / "none"], PROGRAMS),
    ):
        pass
    with (
        pytest.raises(BadInput, match=r"2 keys are called 'example\.org'"),
        open_key("example.org", [home], PROGRAMS),
    ):
        pass


def test_an_agent_that_runs_already_goes_on(tmp_path):
    made = make_key("Kept <kept@example.org>", tmp_path / "k", PROGRAMS)
    environment = {**os.environ, "GNUPGHOME": str(made.home)}
    words = ["gpg-agent", "--daemon", "--quiet"]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        running = agents()
        with open_key("Kept", [made.home], PROGRAMS):
            assert agents() == running
        assert agents() == running
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)


SIGN = """
import sys
from pathlib import Path
from rpmspecs.signing import open_key
from tests.repository import PROGRAMS
home, path = map(Path, sys.argv[1:])
with open_key("fixture", [home], PROGRAMS) as signer:
    signer.sign_file(path)
"""


def test_without_a_file_the_passphrase_is_asked_on_the_terminal(key, tmp_path):
    require_tool("pinentry-curses")
    text = tmp_path / "text"
    text.write_text("text")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-c", SIGN, str(key.home), str(text)])
    shown, typed = b"", False
    deadline = time.monotonic() + 60
    with suppress(OSError):  # of the terminal, when the last program leaves it
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 4096)
            if not typed and b"assphrase" in shown:
                time.sleep(0.5)
                os.write(terminal, SECRET.text.encode() + b"\r")
                typed = True
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    assert typed
    assert text.with_name("text.asc").is_file()


HOLD = """
import sys, time
from pathlib import Path
from rpmspecs.signing import open_key, open_verifier
from tests.repository import PROGRAMS
with open_key("held", [Path(sys.argv[1])], PROGRAMS) as signer:
    with open_verifier(signer.public_key(), PROGRAMS) as verifier:
        print(verifier.keyring.parent, flush=True)
        time.sleep(60)
"""


def test_nothing_is_left_of_us_either_when_we_are_killed(tmp_path):
    home = make_key("Held <held@example.org>", tmp_path / "k", PROGRAMS).home
    before = agents()
    command = [sys.executable, "-c", HOLD, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        left = Path(child.stdout.readline().strip())
        assert agents(before), "which end by themselves"
        os.utime(left, (0, 0))
        with private_home():
            assert left.is_dir(), "it is in use"
        child.send_signal(signal.SIGKILL)
    with private_home():
        assert not left.exists()
