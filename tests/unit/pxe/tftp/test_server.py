"""A real server on the loopback, and clients that send what they like."""

import errno
import logging
import os
import random
import resource
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO

import pytest

from pxe.site import Observation, Outcome, Service
from pxe.tftp import session as session_module
from pxe.tftp.content import BytesContent, Content, FileContent, NoContent
from pxe.tftp.server import Limits, TftpServer
from pxe.tftp.sockets import transfer_socket
from pxe.tftp.wire import Mode, ReadRequest

FUZZED = 20_000
"""Datagrams in the test of that name."""
DEFAULTS = Limits()
LOOPBACK = IPv4Address("127.0.0.1")


class Running:
    """A server in a thread and what it told."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.told: list[Observation] = []
        self.opener: Callable[[], BinaryIO] | None = None
        self.server = TftpServer(LOOPBACK, 0, None, self._resolve, self._observe, limits)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def _resolve(self, name: str, peer: IPv4Address) -> Content:
        if name == "broken":
            raise RuntimeError("a defect in the resolver")
        if name == "unreadable":
            raise OSError(errno.EIO, "Input/output error")
        if name == "rendered":
            return BytesContent(str(peer).encode())
        path = self.folder / name
        if path.exists() or path.is_symlink():
            return FileContent(path, self.opener)
        return NoContent(f"no {name}")

    def _observe(self, observation: Observation) -> None:
        self.told.append(observation)
        if observation.subject == "unwritable":
            raise RuntimeError("a defect in the store")

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.told
            time.sleep(0.002)

    def last(self) -> Observation:
        self.until(lambda: bool(self.told))
        return self.told[-1]


@contextmanager
def running(folder: Path, limits: Limits = DEFAULTS) -> Iterator[Running]:
    (folder / "file").write_bytes(bytes(range(256)) * 8)  # 4 blocks of 512 and an empty one
    server = Running(folder, limits)
    server.thread.start()
    try:
        yield server
        assert server.thread.is_alive(), "the loop ended"
    finally:
        server.server.stop()
        server.thread.join(10)
        assert not server.thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as each:
        yield each


class Client:
    """Sends raw datagrams; answers the port that it was answered from."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.peer = ("127.0.0.1", port)

    def send(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.peer)

    def receive(self) -> bytes:
        datagram, self.peer = self.socket.recvfrom(65536)
        return datagram

    def ask(self, datagram: bytes) -> bytes:
        self.send(datagram)
        return self.receive()

    def stop_listening(self) -> None:
        """As a client that closed its port; but a port that is free may be another test's next."""
        self.socket.connect(("127.0.0.1", 9))

    def hears_nothing(self, seconds: float = 0.1) -> bool:
        self.socket.settimeout(seconds)
        try:
            self.socket.recvfrom(9)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5)
        return False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.server.port) as each:
        yield each


def rrq(name: bytes, *strings: bytes, mode: bytes = b"octet") -> bytes:
    return b"\0\1" + b"".join(part + b"\0" for part in (name, mode, *strings))


def ack(block: int) -> bytes:
    return b"\0\4" + block.to_bytes(2)


def still_serves(server: Running) -> bool:
    with Client(server.server.port) as client:
        return client.ask(rrq(b"rendered")) == b"\0\3\0\x01127.0.0.1"


@pytest.mark.parametrize(
    "datagram",
    [
        rrq(b"file", b"blksize", b"abc"),  # ends tftpy's server with a ValueError
        rrq(b"file\xff"),  # ends tftpy's server with a UnicodeDecodeError
        rrq(b"file", b"BLKSIZE", b"x", b"TSIZE", b""),
        rrq(b"\\file"),
        rrq(b"//file"),
    ],
    ids=repr,
)
def test_odd_requests_get_the_file(client: Client, datagram: bytes) -> None:
    assert client.ask(datagram)[:8] in (b"\0\3\0\1\0\1\2\3", b"\0\6TSIZE\0"[:8])


@pytest.mark.parametrize("datagram", [b"", b"\0", b"\1", b"\0\3\0\1x", b"\0\4\0\1", b"\0\5\0\1\0"])
def test_what_is_no_request_gets_no_answer(
    server: Running, client: Client, datagram: bytes
) -> None:
    """One such octet ends fbtftp's server."""
    client.send(datagram)
    assert client.hears_nothing()
    assert still_serves(server)


@pytest.mark.parametrize(
    ("datagram", "code", "reason"),
    [
        (rrq(b""), 1, b"no file name"),
        (rrq(b"../file"), 2, b"the name leads out of the catalog"),
        (rrq(b"a/../../file"), 2, b"the name leads out of the catalog"),
        (b"\0\2file\0octet\0", 2, b"this server takes no files"),
        (rrq(b"file", mode=b"mail"), 4, b"mode 'mail', octet or netascii expected"),
        (b"\0\1file\0octet", 4, b"a request without a terminated file name and mode"),
    ],
    ids=repr,
)
def test_a_refusal_says_why(
    server: Running, client: Client, datagram: bytes, code: int, reason: bytes
) -> None:
    assert client.ask(datagram) == b"\0\5" + code.to_bytes(2) + reason + b"\0"
    told = server.last()
    assert (told.outcome, told.service, told.reason) == (
        Outcome.REFUSED, Service.TFTP, reason.decode(),
    )  # fmt: skip
    assert told.address == LOOPBACK


def test_why_a_name_is_not_served_is_for_the_log_alone(server: Running, client: Client) -> None:
    assert client.ask(rrq(b"none")) == b"\0\5\0\1no such file\0"
    assert server.last().reason == "no none"


def test_where_files_lie_is_not_told(server: Running, client: Client) -> None:
    (server.folder / "sub").mkdir()
    (server.folder / "gone").symlink_to(server.folder / "nowhere")
    answers = {client.ask(rrq(name)) for name in (b"sub", b"gone")}
    assert answers == {b"\0\5\0\2the file cannot be sent\0", b"\0\5\0\1no such file\0"}
    server.until(lambda: len(server.told) == 2)  # the client is answered before
    reasons = {told.subject: told.reason for told in server.told}
    assert "not a regular file" in reasons["sub"]
    assert str(server.folder / "gone") in reasons["gone"]


def test_a_file_swapped_after_it_was_resolved_is_not_sent(server: Running, client: Client) -> None:
    def swapped() -> BinaryIO:
        raise FileNotFoundError("another file by now")

    server.opener = swapped
    assert client.ask(rrq(b"file")) == b"\0\5\0\1no such file\0"
    assert server.last().reason == "another file by now"


def test_a_file_comes_from_what_the_resolver_opens(server: Running, client: Client) -> None:
    (server.folder / "resolved").write_bytes(b"resolved")
    server.opener = (server.folder / "resolved").open("rb").__enter__
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert client.ask(rrq(b"file")) == b"\0\3\0\1resolved"
    client.send(ack(1))
    assert server.last().outcome is Outcome.SERVED
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1  # the resolver's, closed


def test_a_disk_that_fails_while_a_name_is_looked_up_is_told(
    server: Running, client: Client
) -> None:
    assert client.ask(rrq(b"unreadable")) == b"\0\5\0\2the file cannot be sent\0"
    assert "Input/output error" in server.last().reason


def test_files_running_out_is_told_as_too_many_transfers(tmp_path: Path) -> None:
    with running(tmp_path) as server, Client(server.server.port) as client:
        with no_more_files():
            answer = client.ask(rrq(b"file"))
        assert answer == b"\0\5\0\0too many transfers, try again later\0"
        assert "Too many open files" in server.last().reason
        assert still_serves(server)


@contextmanager
def no_more_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_server_gets_the_files_that_its_transfers_need(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with running(tmp_path, Limits(sessions=1000)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(2064, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_flood_of_refused_requests_is_observed_but_hardly_logged(
    server: Running, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(300):
        client.ask(rrq(b"none"))
    server.until(lambda: len(server.told) == 300)
    assert 1 <= len([each for each in caplog.records if "refused" in each.message]) <= 40


def test_a_write_request_changes_nothing(server: Running, client: Client) -> None:
    before = (server.folder / "file").read_bytes()
    client.ask(b"\0\2file\0octet\0")
    client.ask(b"\0\2new\0octet\0")
    assert (server.folder / "file").read_bytes() == before
    assert not (server.folder / "new").exists()


def test_a_folder_is_not_served(server: Running, client: Client) -> None:
    (server.folder / "sub").mkdir()
    assert client.ask(rrq(b"sub"))[:4] == b"\0\5\0\2"


def test_options_nobody_asked_for_are_not_acknowledged(client: Client) -> None:
    assert client.ask(rrq(b"file", b"tsize", b"0")) == b"\0\6tsize\0002048\0"


def test_option_names_count_in_any_case(client: Client) -> None:
    assert client.ask(rrq(b"file", b"BlkSize", b"1024")) == b"\0\6BlkSize\0001024\0"
    assert len(client.ask(ack(0))) == 1028


def test_a_blksize_beyond_the_limit_is_lowered(client: Client) -> None:
    assert client.ask(rrq(b"file", b"blksize", b"65536")) == b"\0\6blksize\0001468\0"


@pytest.mark.parametrize("window", [1, 4])
def test_the_smallest_blocks_do_not_cut_the_oack(client: Client, window: int) -> None:
    size = str(window).encode()
    oack = client.ask(rrq(b"file", b"blksize", b"8", b"tsize", b"0", b"windowsize", size))
    assert oack == b"\0\6blksize\x008\0tsize\x002048\0windowsize\0" + size + b"\0"
    client.send(ack(0))
    blocks = [client.receive() for _ in range(window)]
    assert b"".join(each[4:] for each in blocks) == bytes(range(8 * window))


def test_a_defect_costs_one_transfer(
    server: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(session: session_module.Session, now: float) -> bool:
        raise RuntimeError("a defect")

    client.ask(rrq(b"file"))
    with monkeypatch.context() as patch:
        patch.setattr(session_module.Session, "advance", defect)
        client.send(ack(1))
        assert server.last().reason == "internal error"
    assert still_serves(server)


def test_an_ack_that_waits_behind_an_error_still_counts(server: Running) -> None:
    """The kernel tells of a refused packet first, whatever arrived before."""
    raised = []

    class Refusing:
        def __init__(self, receive: Callable[[int], bytes]) -> None:
            self.receive = receive

        def __call__(self, size: int) -> bytes:
            if not raised:
                raised.append(True)
                raise ConnectionRefusedError
            return self.receive(size)

    with Client(server.server.port) as client:
        client.ask(rrq(b"rendered"))
        (session,) = server.server._sessions.values()
        session.receive = Refusing(session.receive)  # type: ignore[assignment]
        client.send(ack(1))
        assert server.last().outcome is Outcome.SERVED


def test_a_size_probe_is_normal(server: Running, client: Client) -> None:
    """OVMF asks for tsize alone, then says ERROR 8 and begins again."""
    client.ask(rrq(b"file", b"tsize", b"0"))
    client.send(b"\0\5\0\x08User aborted the transfer\0")
    assert (server.last().outcome, server.last().reason) == (Outcome.SERVED, "size probe")


def test_a_client_that_gives_up_is_told_of(server: Running, client: Client) -> None:
    client.ask(rrq(b"file"))
    client.send(b"\0\5\0\3disk full\n\0")
    told = server.last()
    assert (told.outcome, told.reason) == (
        Outcome.FAILED, "the client gave up: error 3 disk full\\n",
    )  # fmt: skip


def test_a_client_that_closes_its_port_is_noticed(server: Running, client: Client) -> None:
    client.ask(rrq(b"file"))
    client.stop_listening()
    assert server.last().reason == "the client closed its port"  # at the first retransmission


def test_a_client_that_closes_its_port_is_noticed_between_the_packets_of_a_window(
    server: Running, client: Client
) -> None:
    client.ask(rrq(b"file", b"blksize", b"8", b"windowsize", b"4"))
    client.ask(ack(0))
    client.stop_listening()
    assert server.last().reason == "the client closed its port"


def test_a_transfer_is_told_of_with_its_facts(server: Running, client: Client) -> None:
    client.ask(rrq(b"file"))
    for block in range(1, 5):
        client.ask(ack(block))
    client.send(ack(5))
    told = server.last()
    assert (told.outcome, told.subject, told.address) == (Outcome.SERVED, "file", LOOPBACK)
    assert {**told.facts, "seconds": ""} == {
        "bytes": 2048, "seconds": "", "blksize": 512, "windowsize": 1, "resent": 0,
    }  # fmt: skip


def test_a_repeated_ack_gets_no_second_block(client: Client) -> None:
    client.ask(rrq(b"file"))
    assert client.ask(ack(1))[:4] == b"\0\3\0\2"
    for _ in range(5):
        client.send(ack(1))
    assert client.hears_nothing()
    assert client.ask(ack(2))[:4] == b"\0\3\0\3"


def test_a_lost_block_comes_again(client: Client) -> None:
    first = client.ask(rrq(b"file"))
    assert client.receive() == first


def test_a_repeated_request_starts_no_second_transfer(server: Running, client: Client) -> None:
    well_known = client.peer
    client.ask(rrq(b"file", b"tsize", b"0"))
    for _ in range(3):
        client.socket.sendto(rrq(b"file", b"tsize", b"0"), well_known)
    assert still_serves(server)
    assert [each.subject for each in server.told if each.subject == "file"] == []
    assert client.ask(ack(0))[:4] == b"\0\3\0\1"


def test_a_client_that_begins_again_from_the_same_port_gets_a_new_transfer(
    server: Running, client: Client
) -> None:
    well_known = client.peer
    client.ask(rrq(b"file"))
    client.ask(ack(1))
    client.peer = well_known
    assert client.ask(rrq(b"file"))[:4] == b"\0\3\0\1"
    assert server.last().reason == "the client began again"


def test_garbage_within_a_transfer_is_ignored(client: Client) -> None:
    client.ask(rrq(b"file"))
    for garbage in (b"", b"\0", b"\0\4", b"\0\4\0\x09", b"\0\1x\0octet\0", bytes(2000)):
        client.send(garbage)
    assert client.ask(ack(1))[:4] == b"\0\3\0\2"


def test_nobody_else_can_take_part_in_a_transfer(server: Running, client: Client) -> None:
    client.ask(rrq(b"file"))
    with Client(server.server.port) as other:
        other.peer = client.peer
        other.send(b"\0\5\0\0stop\0")
        other.send(ack(1))
        assert other.hears_nothing()
    assert client.ask(ack(1))[:4] == b"\0\3\0\2"


def test_defects_around_the_server_do_not_end_it(server: Running, client: Client) -> None:
    (server.folder / "unwritable").write_bytes(b"")
    client.send(rrq(b"broken"))
    with Client(server.server.port) as other:
        other.ask(rrq(b"unwritable"))
        other.send(ack(1))
    assert still_serves(server)


def test_a_file_that_shrinks_while_it_is_streamed_ends_its_transfer(tmp_path: Path) -> None:
    limits = Limits(packet_memory=100, file_memory=100)
    with running(tmp_path, limits) as server, Client(server.server.port) as client:
        assert client.ask(rrq(b"file"))[:4] == b"\0\3\0\1"
        os.truncate(tmp_path / "file", 600)
        assert client.ask(ack(1))[:4] == b"\0\5\0\0"
        assert "shorter" in server.last().reason
        assert still_serves(server)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(sessions=3), b"too many transfers, try again later"),
        (Limits(sessions_per_peer=3), b"too many transfers to this address"),
    ],
)
def test_transfers_are_limited(tmp_path: Path, limits: Limits, reason: bytes) -> None:
    with running(tmp_path, limits) as server:
        clients = [Client(server.server.port) for _ in range(4)]
        answers = [each.ask(rrq(b"file")) for each in clients]
        assert [answer[:2] for answer in answers] == [b"\0\3"] * 3 + [b"\0\5"]
        assert answers[3] == b"\0\5\0\0" + reason + b"\0"
        clients[0].send(b"\0\5\0\0\0")
        server.until(lambda: server.server.sessions == 2)
        again = Client(server.server.port)
        assert again.ask(rrq(b"file"))[:2] == b"\0\3"
        for each in (*clients, again):
            each.socket.close()


def test_a_window_is_cut_into_packets_without_offload_too(
    server: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment larger than the link lets the kernel refuse, as without checksum offload."""
    monkeypatch.setattr(session_module, "UDP_SEGMENT", 9999)  # ENOPROTOOPT
    client.ask(rrq(b"file", b"windowsize", b"4"))
    client.send(ack(0))
    blocks = [client.receive() for _ in range(4)]
    assert b"".join(each[4:] for each in blocks) == bytes(range(256)) * 8


def test_offload_is_left_when_the_kernel_refuses_it(
    server: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    leave = session_module.Session._leave_offload

    def remember(session: session_module.Session) -> None:
        refused.append(session.fd)
        leave(session)

    monkeypatch.setattr(session_module.Session, "_leave_offload", remember)
    # More segments than a send may have, so that the kernel says EINVAL or EMSGSIZE.
    monkeypatch.setattr(session_module, "SEGMENTS_MAX", 1000)
    monkeypatch.setattr(session_module, "DATAGRAM_MAX", 1 << 20)
    data = os.urandom(1468 * 60)
    (server.folder / "long").write_bytes(data)
    client.ask(rrq(b"long", b"blksize", b"1468", b"windowsize", b"64"))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    client.send(ack(0))
    blocks = [client.receive() for _ in range(61)]
    assert b"".join(each[4:] for each in blocks) == data
    assert refused


def test_many_malformed_datagrams_make_few_observations(server: Running, client: Client) -> None:
    for _ in range(500):
        client.send(b"\1")
    assert still_serves(server)
    assert len([each for each in server.told if each.subject == "malformed request"]) <= 3


def test_a_flood_of_random_datagrams_ends_nothing(tmp_path: Path) -> None:
    """FUZZED datagrams: random octets, and requests and replies with random damage."""
    with running(tmp_path, Limits(sessions_per_peer=1000)) as server:
        fuzz(server)


def fuzz(server: Running) -> None:
    rng = random.Random(20_000)
    seeds = [
        rrq(b"file", b"blksize", b"1428", b"tsize", b"0", b"windowsize", b"16"),
        rrq(b"rendered", b"timeout", b"3"), rrq(b"none", mode=b"netascii"), ack(1),
        b"\0\2file\0octet\0", b"\0\5\0\x08no\0",
    ]  # fmt: skip
    clients = [Client(server.server.port) for _ in range(8)]
    for number in range(FUZZED):
        client = rng.choice(clients)
        if rng.random() < 0.3:
            datagram = rng.randbytes(rng.choice([0, 1, 2, 3, 4, 20, 600]))
        else:
            damaged = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            datagram = bytes(damaged[: rng.randrange(len(damaged) + 1)] if number % 3 else damaged)
        client.send(datagram)
        client.socket.setblocking(False)
        try:
            while True:
                _, peer = client.socket.recvfrom(9000)
                client.socket.sendto(datagram, peer)  # the transfer's own socket gets it too
        except (BlockingIOError, ConnectionRefusedError):
            pass
        if number % 500 == 0:
            assert still_serves(server), number
    for client in clients:
        client.socket.close()
    assert still_serves(server)


def test_a_session_takes_little_memory(tmp_path: Path) -> None:
    """Python's part; the kernel's is its socket."""
    packets = session_module.Prepared(bytes(100), 512)
    session_module.acknowledgments()
    peer = ("127.0.0.1", 9)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    sessions = []
    for number in range(200):
        sock = transfer_socket("127.0.0.1", None, peer)
        sessions.append(
            session_module.Session(
                number, sock, peer, (b"", ReadRequest("file", Mode.OCTET)),
                session_module.Parameters(), packets, None, 0.0,
            )
        )  # fmt: skip
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for session in sessions:
        session.close()
    assert (after - before) / 200 < 1200


def test_a_stopped_server_closes_what_it_opened(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    with running(tmp_path) as server, Client(server.server.port) as client:
        client.ask(rrq(b"file"))
    assert server.told[-1].reason == "the server stops"
    assert len(list(descriptors.iterdir())) == before


def test_two_servers_share_a_port(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        second = TftpServer(LOOPBACK, first.server.port, None, first._resolve, first._observe)
        thread = threading.Thread(target=second.serve_forever)
        thread.start()
        try:
            assert all(still_serves(first) for _ in range(20))
        finally:
            second.stop()
            thread.join(10)


def test_a_server_that_has_ended_may_be_stopped_again() -> None:
    """SIGTERM may come twice: from the supervisor, and from who ends the whole group."""
    ended = TftpServer(LOOPBACK, 0, None, lambda *_: NoContent(""), print)
    ended.stop()
    ended.serve_forever()
    ended.stop()
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(8)]  # one has the number it had
    ended.stop()
    for other in others:
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other)
        os.close(other)


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            TftpServer(LOOPBACK, taken.getsockname()[1], None, lambda *_: NoContent(""), print)
