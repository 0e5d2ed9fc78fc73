# ruff: noqa: N802, N803 - the names are those of Koji's calls
"""A fixture that speaks as much of Koji's XML-RPC as one build needs; no Koji runs here."""

import base64
import threading
import xmlrpc.client
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

OPEN, CLOSED, CANCELED, FAILED = 1, 2, 3, 5
"""koji.TASK_STATES"""

GENERIC_ERROR, AUTH_ERROR = 1000, 1002
"""Fault codes of koji.GenericError and koji.AuthError."""

Builder = Callable[[Path, Path], int]
"""Gets a source package and a folder for logs and packages; returns a state."""


class Fault(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass
class FixtureHub:
    """One user, one target, and tasks that `builder` does."""

    folder: Path
    builder: Builder
    users: dict[str, str] = field(default_factory=lambda: {"ada": "secret"})
    targets: tuple[str, ...] = ("fixture-1",)
    tasks: dict[int, int] = field(default_factory=dict)
    scratch: dict[int, bool] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    events: int = 10
    repository_event: int = 10
    calls: list[str] = field(default_factory=list)

    # what koji.ClientSession calls

    def login(self, user: str, password: str, opts: Any = None) -> dict[str, Any]:
        if self.users.get(user) != password:
            raise Fault(AUTH_ERROR, "invalid username or password")
        return {"session-id": 7, "session-key": "key", "header-auth": True}

    def logout(self, session_id: Any = None) -> None:
        pass

    def checkUpload(self, path: str, name: str, **_: Any) -> dict[str, Any] | None:
        file = self.folder / "uploads" / path / name
        if not file.is_file():
            return None
        data = file.read_bytes()
        return {"size": len(data), "hexdigest": f"{zlib.adler32(data):08x}"}

    def upload(self, query: dict[str, str], data: bytes) -> dict[str, Any]:
        file = self.folder / "uploads" / query["filepath"] / query["filename"]
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            assert out.tell() == int(query["offset"])
            out.write(data)
        return {"size": len(data), "hexdigest": f"{zlib.adler32(data):08x}"}

    def getBuildTarget(self, name: str) -> dict[str, Any] | None:
        return {"name": name, "build_tag_name": f"{name}-build"} if name in self.targets else None

    def build(self, source: str, target: str, opts: dict[str, Any] | None = None) -> int:
        srpm = self.folder / "uploads" / source
        if not srpm.is_file():
            raise Fault(GENERIC_ERROR, f"no such file: {source}")
        task = 100 + len(self.tasks) * 10
        self.tasks[task] = OPEN
        self.scratch[task] = bool((opts or {}).get("scratch"))
        threading.Thread(target=self._do, args=(task, srpm), daemon=True).start()
        return task

    def getTaskInfo(self, task: int) -> dict[str, Any]:
        return {"id": task, "state": self.tasks[task]}

    def getTaskChildren(self, task: int) -> list[dict[str, Any]]:
        return [
            {"id": task + 1, "method": "buildSRPMFromSCM", "arch": "noarch"},
            {"id": task + 2, "method": "buildArch", "arch": "noarch"},
        ]

    def getTaskResult(self, task: int) -> None:
        if self.tasks[task] != CLOSED:
            raise Fault(GENERIC_ERROR, "the builder went away")

    def listTaskOutput(self, task: int) -> list[str]:
        files = sorted(path.name for path in (self.folder / str(task)).glob("*"))
        imported = not self.scratch.get(task - 2, True)
        return [name for name in files if not (imported and name.endswith(".rpm"))]

    def downloadTaskOutput(self, task: int, name: str, offset: int = 0, size: int = -1) -> str:
        data = (self.folder / str(task) / name).read_bytes()[offset:]
        return base64.b64encode(data if size < 0 else data[:size]).decode()

    def cancelTask(self, task: int, recurse: bool = False) -> None:
        self.cancelled.append(task)
        self.tasks[task] = CANCELED

    def listBuilds(self, taskID: int) -> list[dict[str, Any]]:
        return [{"build_id": taskID, "name": "x", "version": "1", "release": "1"}]

    def listRPMs(self, buildID: int, arches: list[str]) -> list[dict[str, Any]]:
        return [{"name": "x", "version": "1", "release": "1", "arch": "noarch"}]

    def getLastEvent(self) -> dict[str, int]:
        self.events += 1
        return {"id": self.events}

    def getRepo(self, tag: str) -> dict[str, int]:
        self.repository_event += 1
        return {"create_event": self.repository_event - 1}

    def _do(self, task: int, srpm: Path) -> None:
        output = self.folder / str(task + 2)
        output.mkdir()
        state = self.builder(srpm, output)
        if self.tasks[task] == OPEN:
            for rpm in [] if self.scratch[task] else output.glob("x-1-1.noarch.rpm"):
                imported = self.folder / "packages/x/1/1/noarch" / rpm.name
                imported.parent.mkdir(parents=True)
                imported.write_bytes(rpm.read_bytes())
            self.tasks[task] = state


@contextmanager
def serving(hub: FixtureHub) -> Iterator[str]:
    """The hub at a URL; `/kojihub` speaks XML-RPC, the rest are the hub's files."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            try:
                answer = xmlrpc.client.dumps(
                    (self.answer(query, data),), methodresponse=True, allow_none=True
                )
            except Fault as fault:
                said = xmlrpc.client.Fault(fault.code, str(fault))
                answer = xmlrpc.client.dumps(said, methodresponse=True)
            self.reply(200, answer.encode())

        def answer(self, query: dict[str, str], data: bytes) -> Any:
            if "filename" in query:
                self.known()
                hub.calls.append("upload")
                return hub.upload(query, data)
            arguments, method = xmlrpc.client.loads(data)
            options: dict[str, Any] = {}
            if arguments and isinstance(arguments[-1], dict) and "__starstar" in arguments[-1]:
                options = {k: v for k, v in arguments[-1].items() if k != "__starstar"}
                arguments = arguments[:-1]
            assert method is not None
            hub.calls.append(method)
            if method in ("build", "cancelTask", "checkUpload"):
                self.known()
            return getattr(hub, method)(*arguments, **options)

        def known(self) -> None:
            if self.headers["Koji-Session-Key"] != "key":
                raise Fault(AUTH_ERROR, "not logged in")

        def do_GET(self) -> None:
            path = hub.folder / self.path.lstrip("/")
            self.reply(200, path.read_bytes()) if path.is_file() else self.send_error(404)

        def reply(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
