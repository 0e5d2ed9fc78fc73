"""Our own certificate: made once, known by its key, taken by real clients."""

import http.server
import ssl
import subprocess
import sys
import threading
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.certificate import own_certificate, pin
from provision.errors import BadInput
from tests.tools import require_tool

TOP = Path(__file__).parents[3]
ADDRESS = IPv4Address("127.0.0.1")
OTHER = f"sha256//{'A' * 43}="


def test_a_certificate_is_made_once_and_its_key_is_nobody_elses_to_read(tmp_path):
    chain, key = own_certificate(tmp_path / "https", ADDRESS)
    made = chain.read_bytes(), key.read_bytes()
    assert own_certificate(tmp_path / "https", ADDRESS) == (chain, key)
    assert (chain.read_bytes(), key.read_bytes()) == made
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in chain.parent.iterdir()) == ["boot.key", "boot.pem"]


@pytest.mark.parametrize("name", ["boot.pem", "boot.key"])
@pytest.mark.parametrize("broken", ["empty", "another", "missing"])
def test_what_a_power_cut_left_is_made_anew(tmp_path, name, broken):
    chain, key = own_certificate(tmp_path / "https", ADDRESS)
    match broken:
        case "empty":
            (chain.parent / name).write_bytes(b"")
        case "another":
            own_certificate(tmp_path / "other", ADDRESS)
            (tmp_path / "other" / name).rename(chain.parent / name)
        case "missing":
            (chain.parent / name).unlink()
    own_certificate(tmp_path / "https", ADDRESS)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)


MAKING = """
import ssl, sys
from ipaddress import IPv4Address
from pathlib import Path
from provision.certificate import own_certificate, pin

print("ready", flush=True)
sys.stdin.readline()
chain, key = own_certificate(Path(sys.argv[1]), IPv4Address("127.0.0.1"))
ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
print(pin(chain.read_bytes()))
"""


def test_servers_that_start_at_once_have_one_certificate(tmp_path):
    command = [sys.executable, "-c", MAKING, str(tmp_path / "https")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": TOP}
    servers = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for server in servers:
        assert server.stdout.readline() == "ready\n"
    for server in servers:
        server.stdin.write("go\n")
        server.stdin.flush()
    pins = [server.communicate(timeout=30)[0] for server in servers]
    assert [server.returncode for server in servers] == [0] * 4
    assert pins == [f"{pin((tmp_path / 'https/boot.pem').read_bytes())}\n"] * 4


def test_curl_speaks_to_the_server_whose_key_is_pinned_and_to_no_other(tmp_path):
    require_tool("curl")
    chain, key = own_certificate(tmp_path, ADDRESS)
    (tmp_path / "secrets").write_text("A=b\n")
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer((str(ADDRESS), 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://{ADDRESS}:{server.server_address[1]}/secrets"
        curl = ["curl", "--silent", "--fail", "--insecure", "--pinnedpubkey"]
        words = [*curl, pin(chain.read_bytes()), url]
        told = subprocess.run(words, check=True, capture_output=True, text=True)
        assert told.stdout == "A=b\n"
        refused = subprocess.run([*curl, OTHER, url], check=False, capture_output=True, text=True)
        assert (refused.returncode, refused.stdout) == (90, "")  # CURLE_SSL_PINNEDPUBKEYNOTMATCH
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_what_is_no_certificate_has_no_pin():
    with pytest.raises(BadInput, match="expected it in PEM"):
        pin(b"nothing\n")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="expected a folder for our certificate"):
        own_certificate(tmp_path / "file" / "https", ADDRESS)
