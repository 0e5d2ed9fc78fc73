"""A site in memory for tests of the servers: two known hosts, leases, one token of each kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network

from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, LocalDisk, UnknownMachine
from pxe.reservation import Lease, Pool, Reservation
from pxe.settings import Settings
from pxe.site import Answer, Observation, Refusal, Report

CLIENT = MacAddress.parse("52:54:00:aa:00:01")
OTHER = MacAddress.parse("52:54:00:aa:00:02")
STRANGER = MacAddress.parse("52:54:00:aa:00:99")
LOOPBACK = IPv4Address("127.0.0.1")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SETTINGS = Settings(
    interface="lo",
    address=IPv4Address("10.20.0.1"),
    subnet=IPv4Network("10.20.0.0/22"),
    pool=Pool(IPv4Address("10.20.3.1"), IPv4Address("10.20.3.250")),
)


@dataclass
class MemorySite:
    """Knows what it was given and keeps what it was told."""

    reservations: tuple[Reservation, ...] = (
        Reservation(CLIENT, LOOPBACK, "cmp01"),
        Reservation(OTHER, IPv4Address("10.20.0.12"), "cmp02"),
    )
    granted: tuple[Lease, ...] = (
        Lease(STRANGER, IPv4Address("10.20.3.9"), NOW + timedelta(minutes=5)),
        Lease(OTHER, IPv4Address("10.20.3.10"), NOW - timedelta(minutes=5)),
    )
    target: BootTarget = field(default_factory=lambda: LocalDisk("cmp01 is active and not armed"))
    answers: dict[str, Answer | Refusal] = field(
        default_factory=lambda: {"t0ken": Answer(b"disk=first\n")}
    )
    secrets: dict[str, Answer] = field(default_factory=lambda: {"s3cret": Answer(b"A=b\n")})
    """What is given by TLS alone."""
    delivered: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    targets: list[tuple[MacAddress, IPv4Address, str]] = field(default_factory=list)

    def reservation(self, client: MacAddress) -> Reservation | None:
        return next((r for r in self.reservations if r.client == client), None)

    def reservation_at(self, address: IPv4Address) -> Reservation | None:
        return next((r for r in self.reservations if r.address == address), None)

    def boot_targets(
        self, asked: Sequence[tuple[MacAddress, IPv4Address]], base_url: str
    ) -> Sequence[BootTarget]:
        return [self._target(client, address, base_url) for client, address in asked]

    def _target(self, client: MacAddress, address: IPv4Address, base_url: str) -> BootTarget:
        self.targets.append((client, address, base_url))
        if self.reservation(client) is None:
            return UnknownMachine((f"  NAME: {{mac: {client}, address: FREE, role: ROLE}}",))
        return self.target

    def answer(
        self, token: str, address: IPv4Address, *, encrypted: bool = False
    ) -> Answer | Refusal:
        if address != LOOPBACK:
            return Refusal("made for another address")
        if token in self.secrets:
            return self.secrets[token] if encrypted else Refusal("asked for in the clear")
        return self.answers.get(token, Refusal("used or never made"))

    def answer_delivered(self, token: str) -> None:
        self.delivered.append(token)
        self.answers.pop(token, None)  # two may have opened it together

    def report(self, token: str, address: IPv4Address, report: Report) -> Refusal | None:
        if token != "t0ken" or address != LOOPBACK:
            return Refusal("used or never made")
        self.reports.append(report)
        return None

    def leases(self) -> Iterable[Lease]:
        return self.granted

    def keep_leases(self, granted: Sequence[Lease], released: Sequence[Lease]) -> Sequence[Lease]:
        return granted

    def observe(self, observation: Observation) -> None:
        self.observations.append(observation)


KERNEL = Kernel(
    kernel="ramdisk/vmlinuz",
    initrds=("ramdisk/initrd.img",),
    arguments=(
        "rackseed.mac=52:54:00:aa:00:01",
        "rackseed.action=image",
        "rackseed.report=http://10.20.0.1/report/R3p0rt",
        "rackseed.answer=http://10.20.0.1/answer/An5wer",
        "console=ttyS0,115200",
        "console=tty0",
    ),
    title="writing debian-12 to cmp01",
)
