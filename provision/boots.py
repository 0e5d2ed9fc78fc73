"""What a machine boots now: its boot session is begun and its single-use URLs are made."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from sqlalchemy import Connection

from provision import deploy
from provision.alarms import Alarms
from provision.deploy import Action
from provision.inventory.model import Host, Inventory
from provision.lifecycle import EventKind, HostState
from provision.memory import ShortMemory
from provision.store import Store, StoreError, events, hosts, tokens
from provision.store.events import BOOT_TARGET, Event
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, LocalDisk, UnknownMachine
from pxe.settings import DhcpMode

log = logging.getLogger(__name__)

SAME_BOOT_S = 10
"""A boot script asked for again within this time is the same boot: it keeps its URLs."""
TOKENS_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Boot:
    """A boot script handed out a moment ago."""

    what: tuple[object, ...]
    """All that it depends on; another value is another boot."""
    token: str
    """One of its tokens: the boot is over when that is withdrawn or used."""
    target: BootTarget


class Boots:
    """Boot sessions of one server process."""

    def __init__(self, store: Store, clock: Callable[[], datetime], alarms: Alarms) -> None:
        self._store = store
        self._clock = clock
        self._alarms = alarms
        self._recent: ShortMemory[_Boot] = ShortMemory(SAME_BOOT_S)
        self._sessions = 0

    def forget(self) -> None:
        """Begin every boot anew: the inventory changed."""
        self._recent.clear()

    def target(
        self, inventory: Inventory, client: MacAddress, address: IPv4Address, base_url: str
    ) -> BootTarget:
        """What the client is to run now; its own disk when the store cannot tell."""
        host = inventory.by_mac.get(client)
        try:
            if host is None:
                target = self._stranger_target(inventory, client, address, base_url)
            else:
                target = self._host_target(inventory, host, address, base_url)
        except StoreError as error:
            log.error("boot target unknown mac=%s: %s", client, error)
            target = LocalDisk("the boot server cannot read its store")
        name = None if host is None else host.name
        told = Event(self._clock(), "site", BOOT_TARGET, name, client, address, observed=True)
        self._store.observer.observe(replace(told, detail=_why(target)))
        return target

    def _host_target(
        self, inventory: Inventory, host: Host, address: IPv4Address, base_url: str
    ) -> BootTarget:
        # Beside another DHCP server the address is that server's to choose.
        if inventory.network.dhcp is DhcpMode.AUTHORITATIVE and address != host.address:
            reason = f"the boot script of {host.name} was asked for from {address}"
            with self._store.database.writing() as connection:
                asked = Event(self._clock(), "site", "", host.name, host.mac, address)
                self._alarms.record(connection, asked, reason)
            return LocalDisk(f"{host.name} has the address {host.address}, you have {address}")
        with self._store.database.reading() as connection:
            record = hosts.find(connection, host.name)
            action = deploy.next_action(host, record)
            if isinstance(action, LocalDisk):
                return action
            what = (address, base_url, action, record.arming)
            if same := self._same_boot(connection, host.mac, what):
                return same
        token = deploy.new_token()
        target = self._begin(inventory, host, address, base_url, token)
        self._recent.keep(host.mac, _Boot(what, deploy.report_token(token), target))
        return target

    def _begin(
        self, inventory: Inventory, host: Host, address: IPv4Address, base_url: str, token: str
    ) -> BootTarget:
        """Begin a boot session: new tokens, and the state moves on where that is due."""
        now = self._clock()
        reports = deploy.report_token(token)
        with self._store.database.writing(durable=False) as connection:
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
            report = deploy.report_url(base_url, reports)
            if action is Action.INSTALL:
                answer_key = replace(key, digest=tokens.digest(token), purpose=Purpose.ANSWER)
                self._add_tokens(connection, key, answer_key)
                answer = deploy.answer_url(base_url, token)
                return deploy.install_target(host, inventory, answer=answer, report=report)
            self._add_tokens(connection, key)
            if record.state is not HostState.RESCUE:
                started = tokens.event_of(key, now, EventKind.INSPECTION_STARTED.value)
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
        with self._store.database.reading() as connection:
            if same := self._same_boot(connection, client, what):
                return same
        now = self._clock()
        token = deploy.new_token()
        with self._store.database.writing(durable=False) as connection:
            tokens.forget_stranger(connection, address)
            tokens.withdraw(connection, client, now)
            key = TokenRecord(
                tokens.digest(token), None, client, address, Purpose.REPORT, None, base_url, now
            )
            self._add_tokens(connection, key)
            started = tokens.event_of(key, now, EventKind.INSPECTION_STARTED.value)
            events.append(connection, [replace(started, observed=True)])
        report = deploy.report_url(base_url, token)
        target = deploy.ramdisk(client, "inspect", f"inspecting {client}", report=report)
        self._recent.keep(client, _Boot(what, token, target))
        return target

    def _add_tokens(self, connection: Connection, *records: TokenRecord) -> None:
        tokens.add(connection, *records)
        self._sessions += 1
        if self._sessions % 64 == 0:
            tokens.forget(connection, records[0].made_at - TOKENS_KEPT)

    def _same_boot(
        self, connection: Connection, mac: MacAddress, what: tuple[object, ...]
    ) -> BootTarget | None:
        """The boot script of a moment ago, if it still opens what it opened then."""
        boot = self._recent.get(mac)
        if boot is None or boot.what != what:
            return None
        token = tokens.find(connection, boot.token)
        fresh = token is not None and token.withdrawn_at is None and token.used_at is None
        return boot.target if fresh else None


def _why(target: BootTarget) -> dict[str, str]:
    """The rule; not the target itself: its arguments hold tokens."""
    match target:
        case LocalDisk(reason):
            why = reason
        case Kernel(title=title):
            why = title
        case UnknownMachine():
            why = "the machine is not in the inventory"
    return {"subject": type(target).__name__, "reason": why}
