"""A small HTTP server for guests: answers and images to fetch, reports to collect."""

import json
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """What the guest talks to: answers and images to fetch, reports it has sent."""

    files: dict[str, bytes] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Path to byte counts: each serves once, then breaks the connection off."""
    address: str = "127.0.0.1"
    port: int = 0
    host: str = "10.0.2.2"
    """This machine as the guest sees it; by default on QEMU's user-mode network."""
    _http: ThreadingHTTPServer | None = None

    def start(self) -> None:
        self._http = _Http((self.address, self.port), partial(_Handler, self))
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def kinds(self) -> list[str]:
        return [report["kind"] for report in self.reports]


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Firmware resets connections when it has what it wants."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*args)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: Server, *args: Any) -> None:
        self.rack = server
        super().__init__(*args)

    def do_GET(self) -> None:
        self.rack.fetched.append(self.path)
        body = self.rack.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cuts := self.rack.cut_after.get(self.path):
            self.wfile.write(body[: cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        body = self.rack.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.rack.reports.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass
