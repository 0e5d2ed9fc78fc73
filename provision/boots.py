"""What a machine boots now: its boot session is begun and its single-use URLs are made."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address

from sqlalchemy import Connection

from provision import deploy
from provision.alarms import Alarms
from provision.deploy import Action
from provision.inventory import views
from provision.inventory.model import Host, Inventory
from provision.lifecycle import EventKind
from provision.memory import ShortMemory
from provision.store import Store, StoreError, events, hosts, tokens
from provision.store.events import BOOT_TARGET, Event
from provision.store.tokens import Purpose, TokenRecord
from pxe.addresses import MacAddress
from pxe.boot import BootTarget, Kernel, LocalDisk, Multiboot, UnknownMachine
from pxe.settings import DhcpMode

log = logging.getLogger(__name__)

SAME_BOOT_S = 10
"""A boot script asked for again within this time is the same boot: it keeps its URLs."""
TOKENS_KEPT = timedelta(days=7)
FORGET_EVERY = 128
"""Tokens made between two times that old ones are deleted."""


_Asked = tuple[MacAddress, IPv4Address]
"""A client and the address from which it asks."""


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
        self._added = 0

    def forget(self) -> None:
        """Begin every boot anew: the inventory changed."""
        self._recent.clear()

    def targets(
        self, inventory: Inventory, asked: Sequence[_Asked], base_url: str
    ) -> Sequence[BootTarget]:
        """What each client is to run now; its own disk when the store cannot tell."""
        made: dict[_Asked, BootTarget] = {}
        # Of a client that asks from two addresses one after the other is made.
        while left := dict(one for one in asked if one not in made):
            made |= self._targets(inventory, list(left.items()), base_url)
        for one, target in made.items():
            self._tell(inventory, one, target)
        return [made[one] for one in asked]

    def _targets(
        self, inventory: Inventory, asked: Sequence[_Asked], base_url: str
    ) -> Mapping[_Asked, BootTarget]:
        made: dict[_Asked, BootTarget] = {}
        due: list[tuple[Host, IPv4Address]] = []
        try:
            for client, address in asked:
                host = inventory.by_mac.get(client)
                if host is None:
                    made[client, address] = self._stranger_target(
                        inventory, client, address, base_url
                    )
                elif inventory.network.dhcp is DhcpMode.AUTHORITATIVE and address != host.address:
                    # Beside another DHCP server the address is that server's to choose.
                    made[client, address] = self._misplaced(host, address)
                else:
                    due.append((host, address))
            if due:
                made |= self._host_targets(inventory, due, base_url)
        except StoreError as error:
            left = [one for one in asked if one not in made]
            log.error(
                "boot targets unknown macs=%s: %s", ",".join(str(mac) for mac, _ in left), error
            )
            made |= dict.fromkeys(left, LocalDisk("the boot server cannot read its store"))
        return made

    def _tell(self, inventory: Inventory, asked: _Asked, target: BootTarget) -> None:
        client, address = asked
        host = inventory.by_mac.get(client)
        name = None if host is None else host.name
        told = Event(
            self._clock(), "site", BOOT_TARGET, name, client, address,
            observed=True, detail=_why(target),
        )  # fmt: skip
        self._store.observer.observe(told)

    def _misplaced(self, host: Host, address: IPv4Address) -> LocalDisk:
        reason = f"the boot script of {host.name} was asked for from {address}"
        with self._store.database.writing() as connection:
            asked = Event(self._clock(), "site", "", host.name, host.mac, address)
            self._alarms.record(connection, asked, reason)
        return LocalDisk(f"{host.name} has the address {host.address}, you have {address}")

    def _host_targets(
        self, inventory: Inventory, asked: Sequence[tuple[Host, IPv4Address]], base_url: str
    ) -> Mapping[_Asked, BootTarget]:
        made: dict[_Asked, BootTarget] = {}
        due: list[tuple[Host, IPv4Address]] = []
        with self._store.database.reading() as connection:
            records = hosts.find_all(connection, [host.name for host, _ in asked])
            for host, address in asked:
                record = records[host.name]
                action = deploy.next_action(host, record)
                if isinstance(action, LocalDisk):
                    made[host.mac, address] = action
                    continue
                what = (address, base_url, action, record.arming)
                if same := self._same_boot(connection, host.mac, what):
                    made[host.mac, address] = same
                else:
                    due.append((host, address))
        if due:
            made |= self._begin(inventory, due, base_url)
        return made

    def _begin(
        self, inventory: Inventory, asked: Sequence[tuple[Host, IPv4Address]], base_url: str
    ) -> Mapping[_Asked, BootTarget]:
        """Begin boot sessions: new tokens, and states move on where that is due."""
        now = self._clock()
        made: dict[_Asked, BootTarget] = {}
        begun: dict[MacAddress, _Boot] = {}
        keys: list[TokenRecord] = []
        with self._store.database.writing(durable=False) as connection:
            records = hosts.lock_all(connection, [host.name for host, _ in asked], now)
            for (host, address), record in zip(asked, records, strict=True):
                action = deploy.next_action(host, record)
                if isinstance(action, LocalDisk):
                    made[host.mac, address] = action
                    continue
                token = deploy.new_token()
                reports = deploy.report_token(token)
                report = deploy.report_url(base_url, reports)
                key = TokenRecord(
                    tokens.digest(reports), host.name, host.mac, address, Purpose.REPORT,
                    record.arming if action is Action.INSTALL else None, base_url, now,
                )  # fmt: skip
                keys.append(key)
                if action is Action.INSTALL:
                    keys.append(replace(key, digest=tokens.digest(token), purpose=Purpose.ANSWER))
                    if views.answered_by_us(host.role) and host.role.metapackage:
                        digest = tokens.digest(deploy.secrets_token(token))
                        keys.append(replace(key, digest=digest, purpose=Purpose.SECRETS))
                    answer = deploy.answer_url(base_url, token)
                    target = deploy.install_target(host, inventory, answer=answer, report=report)
                else:
                    title = f"inspecting {host.name}"
                    target = deploy.ramdisk(host.mac, "inspect", title, report=report)
                    started = tokens.event_of(key, now, EventKind.INSPECTION_STARTED.value)
                    hosts.apply(connection, record, EventKind.INSPECTION_STARTED, started)
                made[host.mac, address] = target
                what = (address, base_url, action, record.arming)
                begun[host.mac] = _Boot(what, reports, target)
            if begun:
                tokens.withdraw(connection, now, *begun)
                self._add_tokens(connection, *keys)
        for mac, boot in begun.items():
            self._recent.keep(mac, boot)
        return made

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
            tokens.withdraw(connection, now, client)
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
        self._added += len(records)
        if self._added >= FORGET_EVERY:
            self._added = 0
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
        case Kernel(title=title) | Multiboot(title=title):
            why = title
        case UnknownMachine():
            why = "the machine is not in the inventory"
    return {"subject": type(target).__name__, "reason": why}
