"""What the servers ask of the program around them, and what they tell it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from pxe.addresses import MacAddress
from pxe.boot import BootTarget
from pxe.reservation import Lease, Reservation


class Service(Enum):
    """Which of the servers saw something."""

    DHCP = "dhcp"
    TFTP = "tftp"
    HTTP = "http"


class Outcome(Enum):
    """What came of one exchange."""

    SERVED = "served"
    SILENT = "silent"
    """DHCP only: deliberately not answered; `reason` says why."""
    REFUSED = "refused"
    FAILED = "failed"
    """Begun and not finished: a transfer that timed out or was given up by the client."""


class Observation(NamedTuple):
    """One exchange on the wire, as one line in the log and one event in the store."""

    service: Service
    outcome: Outcome
    at: datetime
    """Aware, in UTC."""
    subject: str
    """What it was about: `OFFER`, `REQUEST`, a file name, a URL path without its token."""
    reason: str = ""
    """The rule that decided, or the error."""
    client: MacAddress | None = None
    address: IPv4Address | None = None
    facts: Mapping[str, str | int] = MappingProxyType({})
    """Words of the craft: `firmware`, `boot_file`, `bytes`, `seconds`, `xid`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of one single-use URL."""

    body: bytes = field(repr=False)
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a token was not honoured."""

    reason: str
    again: bool = False
    """It may be honoured in a few seconds."""


class ReportKind(Enum):
    """What a booted machine may tell."""

    INSPECTION = "inspection"
    PROGRESS = "progress"
    INSTALLED = "installed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """Something a booted machine told over HTTP."""

    kind: ReportKind
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    """For `inspection`: the hardware, as pxe/ramdisk documents it."""


class Site(Protocol):
    """The program behind the servers. Every method may be called from any server process."""

    def reservation(self, client: MacAddress) -> Reservation | None:
        """What the inventory promises this client; called for every packet, must be fast."""

    def reservation_at(self, address: IPv4Address) -> Reservation | None:
        """The known client that owns an address, reserved or leased for discovery: no."""

    def boot_targets(
        self, asked: Sequence[tuple[MacAddress, IPv4Address]], base_url: str
    ) -> Sequence[BootTarget]:
        """What each client, at its address, is to run now.

        Makes new single-use URLs under `base_url` (paths `/answer/TOKEN` and `/report/TOKEN`)
        and withdraws unused ones made before for these clients.
        """

    def answer(
        self, token: str, address: IPv4Address, *, encrypted: bool = False
    ) -> Answer | Refusal:
        """Open the answer of a single-use URL for the peer at `address`, who asks by TLS or not.

        The token stays usable until `answer_delivered`; a later call is refused and recorded
        as an alarm.
        """

    def answer_delivered(self, token: str) -> None:
        """The whole answer went out: burn the token and move the host on, durably."""

    def report(self, token: str, address: IPv4Address, report: Report) -> Refusal | None:
        """Take a report; durable when this returns None."""

    def leases(self) -> Iterable[Lease]:
        """All discovery leases, expired ones too, to begin with."""

    def keep_leases(self, granted: Sequence[Lease], released: Sequence[Lease]) -> Sequence[Lease]:
        """Write leases in one transaction, durably; returns those of `granted` that were kept.

        A lease is not kept when another server gave its address away first.
        """

    def observe(self, observation: Observation) -> None:
        """Note an exchange; returns at once, writes soon, drops under flood and counts it."""
