"""The program behind the servers: inventory and store, answered in the words of pxe."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from urllib.parse import quote

from sqlalchemy import Connection

from provision import deploy
from provision.deploy import Action, AnswerError, Rejected
from provision.digests import Digests
from provision.inventory import views
from provision.inventory.model import Host, Install, Inventory
from provision.lifecycle import EventKind, HostState, Illegal
from provision.memory import ShortMemory
from provision.store import Store, StoreError, events, hosts, inspections, leases, tokens
from provision.store.events import ALARM, BOOT_TARGET, Event
from provision.store.hosts import HostRecord
from provision.store.inspections import Inspection
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, LocalDisk, UnknownMachine
from pxe.reservation import Lease, Reservation
from pxe.settings import DhcpMode
from pxe.site import Answer, Observation, Refusal, Report, ReportKind

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
"""Gives aware times in UTC."""

CLAIM_S = 5
"""How long one delivery of an answer keeps others out; a client that lost it may then try again."""
SAME_BOOT_S = 10
"""A boot script asked for again within this time is the same boot: it keeps its URLs."""
ALARM_EVERY_S = 60
"""The same alarm of the same host is recorded once in this time."""
INSPECTION_BOUND = 256 * 1024
"""Characters of JSON; a machine with 100 disks and 64 GPUs needs about a tenth."""
MESSAGE_BOUND = 500
"""Characters of a report's message that are kept."""
TOKENS_KEPT = timedelta(days=7)

REPORTED: Mapping[ReportKind, EventKind] = {
    ReportKind.INSPECTION: EventKind.INSPECTED,
    ReportKind.PROGRESS: EventKind.PROGRESS,
    ReportKind.INSTALLED: EventKind.INSTALLED,
    ReportKind.FAILED: EventKind.FAILED,
}
ENDS = frozenset({ReportKind.INSTALLED, ReportKind.FAILED})
"""Reports after which a boot session says no more."""


def utc_now() -> datetime:
    """The clock of the machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _View:
    """An inventory and what is derived from it, exchanged as one value."""

    inventory: Inventory
    reservations: Mapping[MacAddress, Reservation]
    hosts_by_address: Mapping[IPv4Address, Host]


@dataclass(frozen=True, slots=True)
class _Boot:
    """A boot script handed out a moment ago."""

    what: tuple[object, ...]
    """All that it depends on; another value is another boot."""
    token: str
    """One of its tokens: the boot is over when that is withdrawn or used."""
    target: BootTarget


class InventorySite:
    """`pxe.site.Site` from an inventory and a store; safe to call from several threads."""

    def __init__(self, inventory: Inventory, store: Store, clock: Clock = utc_now) -> None:
        self.store = store
        self._clock = clock
        self._digests = Digests()
        self._claims: ShortMemory[bool] = ShortMemory(CLAIM_S)
        self._boots: ShortMemory[_Boot] = ShortMemory(SAME_BOOT_S)
        self._alarms: ShortMemory[bool] = ShortMemory(ALARM_EVERY_S)
        self._made = 0
        self.reload(inventory)
        store.observer.whose = self._whose

    def reload(self, inventory: Inventory) -> None:
        """Go on with another inventory; what was asked before is answered from the old one."""
        self._view = _View(inventory, views.reservations(inventory), views.by_address(inventory))
        self._boots.clear()

    def prepare(self) -> None:
        """Read every image once, so that the first answer need not wait for its sum.

        Raises AnswerError for an image that cannot be read.
        """
        inventory = self._view.inventory
        for host in inventory.hosts.values():
            if host.role.install is Install.IMAGE:
                self._image_answer(host, inventory, "http://prepare")

    def reservation(self, client: MacAddress) -> Reservation | None:
        """What the inventory promises this client."""
        return self._view.reservations.get(client)

    def reservation_at(self, address: IPv4Address) -> Reservation | None:
        """The known client that owns an address."""
        host = self._view.hosts_by_address.get(address)
        return None if host is None else self._view.reservations[host.mac]

    def leases(self) -> Iterable[Lease]:
        """All discovery leases, expired ones too."""
        with self.store.database.reading() as connection:
            return leases.all_leases(connection)

    def keep_leases(self, granted: Sequence[Lease], released: Sequence[Lease]) -> Sequence[Lease]:
        """Write leases in one transaction; returns those of `granted` that were kept."""
        with self.store.database.writing() as connection:
            return leases.keep(connection, granted, released, self._clock())

    def observe(self, observation: Observation) -> None:
        """Note an exchange; returns at once."""
        self.store.observer.observe(observation)

    def boot_target(self, client: MacAddress, address: IPv4Address, base_url: str) -> BootTarget:
        """What the client is to run now; its own disk when the store cannot tell."""
        view = self._view
        host = view.inventory.by_mac.get(client)
        try:
            if host is None:
                target = self._stranger_target(view.inventory, client, address, base_url)
            else:
                target = self._host_target(view.inventory, host, address, base_url)
        except StoreError as error:
            log.error("boot target unknown mac=%s: %s", client, error)
            target = LocalDisk("the boot server cannot read its store")
        self._tell_target(client, address, target)
        return target

    def answer(self, token: str, address: IPv4Address) -> Answer | Refusal:
        """Open the answer of a single-use URL for the peer at `address`."""
        with self.store.database.reading() as connection:
            found = tokens.find(connection, token)
            record = hosts.find(connection, found.host) if found and found.host else None
        rejected = deploy.judge_answer(found, record, address, self._clock())
        if rejected is not None:
            return self._reject(found, address, rejected)
        assert found is not None
        inventory = self._view.inventory
        host = inventory.hosts.get(found.host or "")
        if host is None or host.mac != found.mac:
            return Refusal(f"{found.host} is no longer in the inventory with this MAC address")
        if not self._claims.take(found.digest, True):
            return Refusal("the answer is being delivered; ask again in a few seconds")
        try:
            return Answer(self._body(host, inventory, found.base_url, token).encode())
        except AnswerError as error:
            self._claims.forget(found.digest)
            log.error("answer not made host=%s: %s", host.name, error)
            return Refusal(f"the answer of {host.name} cannot be made: {error}")

    def answer_delivered(self, token: str) -> None:
        """The whole answer went out: burn the token and move the host on, durably."""
        with self.store.database.writing() as connection:
            found = self._lock_token(connection, token)
            if found is None or found.host is None:
                return
            now = self._clock()
            event = _event_of(found, now, "site", EventKind.ANSWER_DELIVERED.value)
            if found.used_at is not None:
                self._alarm(connection, event, "the answer was delivered twice")
                return
            tokens.burn(connection, found, now)
            record = hosts.lock(connection, found.host, now)
            moved: HostRecord | Illegal | None = None
            if found.withdrawn_at is None and record.arming == found.arming:
                moved = hosts.apply(connection, record, EventKind.ANSWER_DELIVERED, event)
            if not isinstance(moved, HostRecord):
                # An operator disarmed it in this very moment: it may install all the same.
                late = f"the answer was delivered though {found.host} is {record.state.value}"
                self._alarm(connection, event, late)
        self._claims.forget(found.digest)

    def report(self, token: str, address: IPv4Address, report: Report) -> Refusal | None:
        """Take a report; durable when this returns None."""
        if report.kind is ReportKind.INSPECTION and (bad := _unfit(report)):
            return Refusal(bad)
        with self.store.database.reading() as connection:
            found = tokens.find(connection, token)
        # Judged twice: a stranger's token must not cost a lock, a good one needs it.
        rejected = deploy.judge_report(found, report.kind, address, self._clock())
        if rejected is not None:
            return self._reject(found, address, rejected)
        with self.store.database.writing() as connection:
            found = self._lock_token(connection, token)
            rejected = deploy.judge_report(found, report.kind, address, self._clock())
            if found is None or rejected is not None:
                return Refusal(rejected.reason if rejected else "withdrawn")
            if found.closed_by is not None:
                return None  # the client did not hear our first answer
            return self._take(connection, found, report)

    def _take(self, connection: Connection, token: TokenRecord, report: Report) -> Refusal | None:
        now = self._clock()
        kind = REPORTED[report.kind]
        message = report.message[:MESSAGE_BOUND]
        event = replace(
            _event_of(token, now, "site", kind.value),
            detail={"message": message} if message else {},
            observed=token.host is None or report.kind is ReportKind.PROGRESS,
        )
        if report.kind is ReportKind.INSPECTION:
            inspections.add(connection, Inspection(token.mac, now, report.data, token.host))
        if token.host is None:
            if report.kind is ReportKind.INSTALLED:
                return Refusal("a machine outside the inventory is not installed")
            events.append(connection, [event])
        else:
            record = hosts.lock(connection, token.host, now)
            moved = hosts.apply(connection, record, kind, event)
            if isinstance(moved, Illegal):
                if report.kind in ENDS:
                    return Refusal(moved.reason)
                events.append(connection, [event])
        if report.kind in ENDS:
            tokens.burn(connection, token, now, report.kind.value)
            tokens.withdraw(connection, token.mac, now)
        return None

    def _host_target(
        self, inventory: Inventory, host: Host, address: IPv4Address, base_url: str
    ) -> BootTarget:
        # Beside another DHCP server the address is that server's to choose.
        if inventory.network.dhcp is DhcpMode.AUTHORITATIVE and address != host.address:
            reason = f"the boot script of {host.name} was asked for from {address}"
            with self.store.database.writing() as connection:
                asked = Event(self._clock(), "site", ALARM, host.name, host.mac, address)
                self._alarm(connection, asked, reason)
            return LocalDisk(f"{host.name} has the address {host.address}, you have {address}")
        with self.store.database.reading() as connection:
            record = hosts.find(connection, host.name)
            action = deploy.next_action(host, record)
            if isinstance(action, LocalDisk):
                return action
            what = (address, base_url, action, record.arming)
            if same := self._same_boot(connection, host.mac, what):
                return same
        token = deploy.new_token()
        target = self._begin(inventory, host, address, base_url, token)
        self._boots.keep(host.mac, _Boot(what, deploy.report_token(token), target))
        return target

    def _begin(
        self, inventory: Inventory, host: Host, address: IPv4Address, base_url: str, token: str
    ) -> BootTarget:
        """Begin a boot session: new tokens, and the state moves on where that is due."""
        now = self._clock()
        reports = deploy.report_token(token)
        with self.store.database.writing(durable=False) as connection:
            record = hosts.lock(connection, host.name, now)
            action = deploy.next_action(host, record)
            if isinstance(action, LocalDisk):
                return action
            tokens.withdraw(connection, host.mac, now)
            arming = record.arming if action is Action.INSTALL else None
            key = TokenRecord(
                tokens.digest(reports), host.name, host.mac, address, Purpose.REPORT, arming,
                base_url, now,
            )  # fmt: skip
            self._add_token(connection, key)
            report = deploy.report_url(base_url, reports)
            if action is Action.INSTALL:
                answer_key = replace(key, digest=tokens.digest(token), purpose=Purpose.ANSWER)
                self._add_token(connection, answer_key)
                answer = deploy.answer_url(base_url, token)
                return deploy.install_target(host, inventory, answer=answer, report=report)
            if record.state is not HostState.RESCUE:
                started = _event_of(key, now, "site", EventKind.INSPECTION_STARTED.value)
                hosts.apply(connection, record, EventKind.INSPECTION_STARTED, started)
            return deploy.ramdisk(host.mac, "inspect", f"inspecting {host.name}", report=report)

    def _stranger_target(
        self, inventory: Inventory, client: MacAddress, address: IPv4Address, base_url: str
    ) -> BootTarget:
        pool = inventory.network.discovery
        authoritative = inventory.network.dhcp is DhcpMode.AUTHORITATIVE
        place = pool if authoritative else inventory.network.subnet
        if pool is None or place is None or address not in place:
            return deploy.unknown_machine(client, address)
        what = (address, base_url)
        with self.store.database.reading() as connection:
            if same := self._same_boot(connection, client, what):
                return same
        now = self._clock()
        token = deploy.new_token()
        with self.store.database.writing(durable=False) as connection:
            tokens.forget_stranger(connection, address)
            tokens.withdraw(connection, client, now)
            key = TokenRecord(
                tokens.digest(token), None, client, address, Purpose.REPORT, None, base_url, now
            )
            self._add_token(connection, key)
            started = _event_of(key, now, "site", EventKind.INSPECTION_STARTED.value)
            events.append(connection, [replace(started, observed=True)])
        report = deploy.report_url(base_url, token)
        target = deploy.ramdisk(client, "inspect", f"inspecting {client}", report=report)
        self._boots.keep(client, _Boot(what, token, target))
        return target

    def _body(self, host: Host, inventory: Inventory, base_url: str, token: str) -> str:
        if host.role.install is Install.IMAGE:
            return self._image_answer(host, inventory, base_url)
        if host.role.answer is None:
            raise AnswerError(f"role {host.role.name} has no answer template")
        report = deploy.report_url(base_url, deploy.report_token(token))
        plan = deploy.install_plan(inventory, host, base_url, report)
        return deploy.render_answer(plan, host.role.answer)

    def _image_answer(self, host: Host, inventory: Inventory, base_url: str) -> str:
        image = host.role.image
        if image is None:
            raise AnswerError(f"role {host.role.name} has no image")
        try:
            facts = self._digests.of(inventory.artifacts / image)
        except OSError as error:
            why = error.strerror or error
            raise AnswerError(f"{inventory.artifacts / image}: cannot be read: {why}") from None
        url = f"{base_url}/{views.artifact_name(quote(image.as_posix()))}"
        return deploy.image_answer(
            image, url, sha256=facts.sha256, size=facts.size, disk=host.role.disk
        )

    def _lock_token(self, connection: Connection, token: str) -> TokenRecord | None:
        """A token for changing; its host is locked first, as everywhere, against deadlock."""
        found = tokens.find(connection, token)
        if found is not None and found.host is not None:
            hosts.lock(connection, found.host, self._clock())
        return tokens.find(connection, token, lock=True)

    def _add_token(self, connection: Connection, record: TokenRecord) -> None:
        tokens.add(connection, record)
        self._made += 1
        if self._made % 64 == 0:
            tokens.forget(connection, record.made_at - TOKENS_KEPT)

    def _reject(
        self, token: TokenRecord | None, address: IPv4Address, rejected: Rejected
    ) -> Refusal:
        if rejected.alarm and token is not None:
            event = replace(_event_of(token, self._clock(), "site", ALARM), address=address)
            with self.store.database.writing() as connection:
                self._alarm(connection, event, rejected.reason)
        return Refusal(rejected.reason)

    def _alarm(self, connection: Connection, event: Event, reason: str) -> None:
        if not self._alarms.take((event.host, reason), True):
            return
        log.warning("alarm host=%s address=%s: %s", event.host, event.address, reason)
        observed = event.host is None
        alarm = replace(event, kind=ALARM, detail={"reason": reason}, observed=observed)
        events.append(connection, [alarm])

    def _same_boot(
        self, connection: Connection, mac: MacAddress, what: tuple[object, ...]
    ) -> BootTarget | None:
        """The boot script of a moment ago, if it still opens what it opened then."""
        boot = self._boots.get(mac)
        if boot is None or boot.what != what:
            return None
        token = tokens.find(connection, boot.token)
        fresh = token is not None and token.withdrawn_at is None and token.used_at is None
        return boot.target if fresh else None

    def _tell_target(self, client: MacAddress, address: IPv4Address, target: BootTarget) -> None:
        match target:  # not the target itself: its arguments hold tokens
            case LocalDisk(reason):
                why = reason
            case Kernel(title=title):
                why = title
            case UnknownMachine():
                why = "the machine is not in the inventory"
        host = self._view.inventory.by_mac.get(client)
        name = None if host is None else host.name
        detail = {"subject": type(target).__name__, "reason": why}
        told = Event(
            self._clock(), "site", BOOT_TARGET, name, client, address, observed=True, detail=detail
        )
        self.store.observer.observe(told)

    def _whose(self, observation: Observation) -> str | None:
        view = self._view
        if observation.client is not None:
            host = view.inventory.by_mac.get(observation.client)
        elif observation.address is not None:
            host = view.hosts_by_address.get(observation.address)
        else:
            host = None
        return None if host is None else host.name


def _event_of(token: TokenRecord, at: datetime, service: str, kind: str) -> Event:
    return Event(at, service, kind, token.host, token.mac, token.address)


def _unfit(report: Report) -> str | None:
    """Why a hardware report cannot be kept; None: it can."""
    try:
        size = len(json.dumps(dict(report.data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return f"the inspection is not JSON: {error}"
    if size > INSPECTION_BOUND:
        return f"the inspection has {size} characters of JSON, at most {INSPECTION_BOUND} are kept"
    return None
