import hashlib
import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provision import run
from rpmspecs import sources
from rpmspecs.errors import BadInput, SourceUnavailable
from rpmspecs.running import Programs
from rpmspecs.sources import Source, cached, default_cache, fetch, read_list

PROGRAMS = Programs(run.run, run.start)
BODY = b"the sources of a package\n" * 20_000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.path.endswith("/missing"):
            self.send_error(404)
        elif self.path.endswith("/slow"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[:1000])
            self.wfile.flush()
            self.server.go_on.wait(20)
        elif self.path.endswith("/busy") and len(self.server.asked) < 2:
            self.send_error(503)
        elif self.path.endswith("/broken") and len(self.server.asked) < 2:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[:100_000])
            self.close_connection = True
        else:
            begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(BODY) - begin))
            self.end_headers()
            self.wfile.write(BODY[begin:])

    def log_message(self, *_):
        pass


@contextmanager
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.asked = []
        http.go_on = threading.Event()
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        http.url = f"http://127.0.0.1:{http.server_port}"
        yield http
        http.go_on.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def http(monkeypatch):
    monkeypatch.setattr(sources, "PAUSE", 0.01)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server() as running:
        yield running


def left(cache):
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


def test_a_source_is_fetched_once_and_kept_under_its_digest(http, tmp_path):
    source = Source(DIGEST, "a.tar.gz", f"{http.url}/a")
    seen = []
    fetch([source, source], tmp_path, PROGRAMS, progress=lambda *told: seen.append(told))
    fetch([source], tmp_path, PROGRAMS)
    assert cached(source, tmp_path).read_bytes() == BODY
    assert left(tmp_path) == [f"{DIGEST}/a.tar.gz"]
    assert len(http.asked) == 1
    assert seen[-1] == (source, len(BODY), len(BODY))


def test_a_broken_download_goes_on_where_it_stopped(http, tmp_path):
    source = Source(DIGEST, "a.tar.gz", f"{http.url}/broken")
    fetch([source], tmp_path, PROGRAMS)
    assert cached(source, tmp_path).read_bytes() == BODY
    assert [asked for _, asked in http.asked] == [None, "bytes=100000-"]


def test_a_busy_server_is_asked_again(http, tmp_path):
    source = Source(DIGEST, "a.tar.gz", f"{http.url}/busy")
    fetch([source], tmp_path, PROGRAMS)
    assert len(http.asked) == 2


def test_all_that_cannot_be_had_is_told_at_once(http, tmp_path):
    good = Source(DIGEST, "good", f"{http.url}/good")
    wrong = Source("0" * 64, "wrong", f"{http.url}/wrong")
    gone = Source("1" * 64, "gone", f"{http.url}/missing")
    nowhere = Source("2" * 64, "nowhere", "http://127.0.0.1:9/x")
    absent = Source("3" * 64, "absent", f"file://{tmp_path}/absent")
    with pytest.raises(SourceUnavailable) as caught:
        fetch([good, wrong, gone, nowhere, absent], tmp_path, PROGRAMS)
    told = sorted(str(caught.value).splitlines())
    assert len(told) == 4
    assert re.match(r"absent: file:///.*/absent cannot be read: No such file", told[0])
    assert told[1] == f"gone: {http.url}/missing answers 404 Not Found"
    assert re.match(r"nowhere: http://127.0.0.1:9/x does not answer: Connect", told[2])
    assert told[3] == (
        f"wrong: {http.url}/wrong gave a file with the SHA-256 {DIGEST}, expected {'0' * 64}"
    )
    assert left(tmp_path) == [f"{DIGEST}/good"]


def test_a_proxy_is_asked_instead_of_the_server(http, tmp_path):
    source = Source(DIGEST, "a", "http://sources.example.org/a")
    fetch([source], tmp_path, PROGRAMS, proxy=http.url)
    assert http.asked == [("http://sources.example.org/a", None)]


def test_the_environments_proxy_is_honoured(http, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", http.url)
    fetch([Source(DIGEST, "a", "http://sources.example.org/a")], tmp_path, PROGRAMS)
    assert http.asked == [("http://sources.example.org/a", None)]


def test_an_interruption_ends_a_download_at_once(http, tmp_path):
    def interrupt():
        while not http.asked:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch([Source(DIGEST, "a", f"{http.url}/slow")], tmp_path, PROGRAMS)
    assert time.monotonic() - begin < 5
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_lie_in_a_folder(tmp_path):
    (tmp_path / "my source").write_bytes(BODY)
    source = Source(DIGEST, "a", f"file://{tmp_path}/my%20source")
    fetch([source], tmp_path / "cache", PROGRAMS)
    assert cached(source, tmp_path / "cache").read_bytes() == BODY


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("abc a.tar.gz https://x/a", "found 'abc', expected a SHA-256"),
        (f"{DIGEST} a.tar.gz", "expected three words"),
        (f"{DIGEST} ../a https://x/a", "found '../a', expected a file name without folders"),
        (f"{DIGEST} b gopher://x/a", "found 'gopher://x/a', expected a URL of http"),
        (f"{DIGEST} first https://x/a", "first is listed twice, expected once"),
    ],
)
def test_a_mistake_in_the_list_is_told_with_its_line(tmp_path, line, sentence):
    path = tmp_path / "sources"
    path.write_text(f"# a comment\n{DIGEST}  first  https://example.org/first\n\n{line}\n")
    with pytest.raises(BadInput, match=re.escape(f"{path}:4: {sentence}")):
        read_list(path)


def test_a_list_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "sources"
    path.write_text(f"# upstream\n{DIGEST}  a-1.tgz  https://example.org/a\n")
    assert read_list(path) == (Source(DIGEST, "a-1.tgz", "https://example.org/a"),)
    assert read_list(tmp_path / "none") == ()


def test_the_cache_is_where_the_system_wants_caches(tmp_path):
    assert default_cache({"XDG_CACHE_HOME": "/c"}) == tmp_path.__class__("/c/rackseed/sources")
    assert default_cache({"HOME": "/h"}) == tmp_path.__class__("/h/.cache/rackseed/sources")
