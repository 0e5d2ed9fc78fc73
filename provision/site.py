"""The program behind the servers: inventory and store, answered in the words of pxe."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from urllib.parse import quote

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from provision import deploy, images, served
from provision.alarms import Alarms
from provision.boots import Boots
from provision.deploy import AnswerError, Rejected
from provision.digests import Digests
from provision.inventory import views
from provision.inventory.model import Host, Install, Inventory
from provision.lifecycle import EventKind, HostState, Illegal, advance
from provision.store import Store, StoreError, events, hosts, inspections, leases, tokens
from provision.store.events import ALARM
from provision.store.hosts import HostRecord
from provision.store.inspections import Inspection
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import BootTarget
from pxe.reservation import Lease, Reservation
from pxe.site import Answer, Observation, Refusal, Report, ReportKind

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
"""Gives aware times in UTC."""

CLAIM_S = 12
"""How long one delivery of an answer keeps others out; a client that lost it may then try again.

Longer than a delivery may take (pxe.http.transfer.DELIVERY_LIMIT).
"""
RETRY_S = 1.0
"""How long a delivery waits that could not be stored, before it is tried again."""
INSPECTION_BOUND = 256 * 1024
"""Characters of JSON; a machine with 100 disks and 64 GPUs needs about a tenth."""
SECRETS_FETCHED = "the secrets were fetched"
MESSAGE_BOUND = 500
"""Characters of a report's message that are kept."""

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


class InventorySite:
    """`pxe.site.Site` from an inventory and a store; safe to call from several threads."""

    def __init__(
        self,
        inventory: Inventory,
        store: Store,
        clock: Clock = utc_now,
        secrets: deploy.SecretsServer | None = None,
    ) -> None:
        self.store = store
        self._secrets = secrets
        self._clock = clock
        self._digests = Digests()
        self._alarms = Alarms()
        self._boots = Boots(store, clock, self._alarms)
        self.reload(inventory)
        store.observer.whose = self._whose

    def reload(self, inventory: Inventory) -> None:
        """Go on with another inventory; what was asked before is answered from the old one."""
        self._view = _View(inventory, views.reservations(inventory), views.by_address(inventory))
        self._boots.forget()

    def prepare(self) -> None:
        """Read every image once, so that the first answer need not wait for its sum.

        Raises AnswerError for an image that cannot be read.
        """
        inventory = self._view.inventory
        for host in inventory.hosts.values():
            if host.role.install is Install.IMAGE:
                self._image_answer(host, inventory, "http://prepare", "http://prepare")

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
        try:
            with self.store.database.writing() as connection:
                return leases.keep(connection, granted, released, self._clock())
        except IntegrityError:
            # Another server gave the same client another address just now; this time we see it.
            with self.store.database.writing() as connection:
                return leases.keep(connection, granted, released, self._clock())

    def observe(self, observation: Observation) -> None:
        """Note an exchange; returns at once."""
        self.store.observer.observe(observation)

    def boot_targets(
        self, asked: Sequence[tuple[MacAddress, IPv4Address]], base_url: str
    ) -> Sequence[BootTarget]:
        """What each client is to run now; its own disk when the store cannot tell."""
        return self._boots.targets(self._view.inventory, asked, base_url)

    def answer(
        self, token: str, address: IPv4Address, *, encrypted: bool = False
    ) -> Answer | Refusal:
        """Open the answer of a single-use URL for the peer at `address`; secrets by TLS alone."""
        with self.store.database.reading() as connection:
            found = tokens.find(connection, token)
            record = hosts.find(connection, found.host) if found and found.host else None
        if found is not None and found.purpose is Purpose.SECRETS:
            rejected = deploy.judge_secrets(
                found, record, address, self._clock(), encrypted=encrypted
            )
        else:
            rejected = deploy.judge_answer(found, record, address, self._clock())
        if rejected is not None:
            return self._reject(found, address, rejected)
        assert found is not None
        inventory = self._view.inventory
        host = inventory.hosts.get(found.host or "")
        if host is None or host.mac != found.mac:
            return Refusal(f"{found.host} is no longer in the inventory with this MAC address")
        try:
            if found.purpose is Purpose.SECRETS:
                body = deploy.secrets_answer(host, inventory)
            else:
                body = self._body(host, inventory, found.base_url, token)
            answer = Answer(body.encode())
        except AnswerError as error:
            log.error("answer not made host=%s: %s", host.name, error)
            return Refusal(f"the answer of {host.name} cannot be made: {error}")
        # Claimed last, as making the answer may take long. A claim need not outlast a power cut.
        with self.store.database.writing(durable=False) as connection:
            claimed = tokens.claim(connection, found, self._clock(), timedelta(seconds=CLAIM_S))
        if not claimed:
            return Refusal("the answer is being delivered; ask again in a few seconds", again=True)
        return answer

    def answer_delivered(self, token: str) -> None:
        """The whole answer went out: burn the token and move the host on, durably.

        The machine installs now whatever becomes of our store: when the store fails, this is
        tried again until it works, so that the arming cannot be used a second time.
        """
        try:
            self._note_delivery(token)
        except StoreError as error:
            log.error("delivery not yet stored: %s", error)
            again = threading.Thread(target=self._note_later, args=(token,), daemon=True)
            again.start()

    def _note_later(self, token: str) -> None:
        while True:
            time.sleep(RETRY_S)
            try:
                self._note_delivery(token)
            except StoreError as error:
                log.error("delivery not yet stored: %s", error)
            else:
                return

    def _note_delivery(self, token: str) -> None:
        with self.store.database.writing() as connection:
            found = self._lock_token(connection, token)
            if found is None or found.host is None:
                return
            now = self._clock()
            event = tokens.event_of(found, now, EventKind.ANSWER_DELIVERED.value)
            if found.used_at is not None:
                self._alarms.record(connection, event, "the answer was delivered twice")
                return
            tokens.burn(connection, found, now)
            if found.purpose is Purpose.SECRETS:
                told = replace(event, kind=EventKind.PROGRESS.value)
                events.append(connection, [replace(told, detail={"message": SECRETS_FETCHED})])
                return
            record = hosts.lock(connection, found.host, now)
            moved: HostRecord | Illegal | None = None
            if found.withdrawn_at is None and record.arming == found.arming:
                moved = hosts.apply(connection, record, EventKind.ANSWER_DELIVERED, event)
            if not isinstance(moved, HostRecord):
                # An operator disarmed it in this very moment: it may install all the same.
                late = f"the answer was delivered though {found.host} is {record.state.value}"
                self._alarms.record(connection, event, late)
        served.remember(self.store, self._view.inventory, found.host, now)

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
            if found.closed_by == report.kind.value:
                return None  # the client did not hear our first answer
            return self._take(connection, found, report)

    def _take(self, connection: Connection, token: TokenRecord, report: Report) -> Refusal | None:
        now = self._clock()
        kind = REPORTED[report.kind]
        message = report.message[:MESSAGE_BOUND]
        event = replace(
            tokens.event_of(token, now, kind.value),
            detail={"message": message} if message else {},
            observed=token.host is None,
        )
        if report.kind is ReportKind.INSPECTION:
            inspections.add(connection, Inspection(token.mac, now, report.data, token.host))
        if token.host is None:
            if report.kind is ReportKind.INSTALLED:
                return Refusal("a machine outside the inventory is not installed")
            events.append(connection, [event])
        else:
            record = hosts.lock(connection, token.host, now)
            if token.closed_by is not None and record.arming != token.arming:
                return Refusal(f"this boot session ended with '{token.closed_by}'")
            # A machine may say the same as often as it likes: only what changes is kept for ever.
            after = advance(record.state, kind, record.prior or HostState.ENROLLED)
            event = replace(event, observed=isinstance(after, Illegal) or after is record.state)
            moved = hosts.apply(connection, record, kind, event)
            if isinstance(moved, Illegal):
                if report.kind in ENDS:
                    return Refusal(moved.reason)
                events.append(connection, [event])
        if report.kind in ENDS:
            tokens.burn(connection, token, now, report.kind.value)
            tokens.withdraw(connection, now, token.mac)
        return None

    def _body(self, host: Host, inventory: Inventory, base_url: str, token: str) -> str:
        report = deploy.report_url(base_url, deploy.report_token(token))
        if host.role.install is Install.IMAGE:
            return self._image_answer(host, inventory, base_url, report)
        if views.answered_by_us(host.role):
            server = self._secrets
            if server is None and views.secrets_of(host.role):
                raise AnswerError(f"secrets go by HTTPS alone, for {host.name} start serve anew")
            secrets = server.source(deploy.secrets_token(token)) if server else None
            return deploy.own_answer(
                inventory, host, base_url, report=report, secrets=secrets, masked=False
            )
        if host.role.answer is None:
            raise AnswerError(f"role {host.role.name} has no answer template")
        plan = deploy.install_plan(inventory, host, base_url, report)
        return deploy.render_answer(plan, host.role.answer)

    def _image_answer(self, host: Host, inventory: Inventory, base_url: str, report: str) -> str:
        image = host.role.image
        if image is None:
            raise AnswerError(f"role {host.role.name} has no image")
        try:
            facts = self._digests.of(inventory.artifacts / image)
        except OSError as error:
            why = error.strerror or error
            raise AnswerError(f"{inventory.artifacts / image}: cannot be read: {why}") from None
        url = f"{base_url}/{views.artifact_name(quote(image.as_posix()))}"
        return images.answer(host, inventory, image, facts, url=url, report=report)

    def _lock_token(self, connection: Connection, token: str) -> TokenRecord | None:
        """A token for changing; its host is locked first, as everywhere, against deadlock."""
        found = tokens.find(connection, token)
        if found is not None and found.host is not None:
            hosts.lock(connection, found.host, self._clock())
        return tokens.find(connection, token, lock=True)

    def _reject(
        self, token: TokenRecord | None, address: IPv4Address, rejected: Rejected
    ) -> Refusal:
        if rejected.alarm and token is not None:
            event = replace(tokens.event_of(token, self._clock(), ALARM), address=address)
            with self.store.database.writing() as connection:
                self._alarms.record(connection, event, rejected.reason)
        return Refusal(rejected.reason)

    def _whose(self, observation: Observation) -> str | None:
        view = self._view
        if observation.client is not None:
            host = view.inventory.by_mac.get(observation.client)
        elif observation.address is not None:
            host = view.hosts_by_address.get(observation.address)
        else:
            host = None
        return None if host is None else host.name


def _unfit(report: Report) -> str | None:
    """Why a hardware report cannot be kept; None: it can."""
    try:
        size = len(json.dumps(dict(report.data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return f"the inspection is not JSON: {error}"
    if size > INSPECTION_BOUND:
        return f"the inspection has {size} characters of JSON, at most {INSPECTION_BOUND} are kept"
    return None
