"""Who holds which address of the discovery pool: leases, offers and quarantine."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from zlib import crc32

from pxe.addresses import MacAddress
from pxe.reservation import Lease, Pool

OFFER_TIME = timedelta(seconds=30)
"""How long an offered address waits for its REQUEST; firmware takes up to 8 seconds."""
QUARANTINE_TIME = timedelta(minutes=10)
"""How long a declined address is left alone."""


class LeaseBook:
    """The pool as this server knows it. Reading methods change nothing; one entry an address."""

    def __init__(
        self, pool: Pool, leases: Iterable[Lease] = (), excluded: Collection[IPv4Address] = ()
    ) -> None:
        """`excluded` are addresses of the pool's range that are never given away."""
        self._pool = pool
        self._first = int(pool.first)
        self._last = int(pool.last)
        self._excluded = frozenset(int(address) for address in excluded if address in pool)
        self._entries: dict[int, Lease] = {}
        self._by_client: dict[MacAddress, Lease] = {}
        self._confirmed: dict[MacAddress, Lease] = {}
        self._blocked: dict[int, datetime] = {}
        self._full_until: datetime | None = None
        self.changes = 0
        """Rises with everything that may change an answer, the passing of time apart."""
        for lease in sorted(leases, key=lambda lease: lease.expires):
            if lease.address in pool:
                self._enter(lease)

    def lease_of(self, client: MacAddress) -> Lease | None:
        """The client's lease or offer, expired or not, unless the address went to another."""
        return self._by_client.get(client)

    def confirmed(self, client: MacAddress) -> Lease | None:
        """The client's lease, where the store still has it; None when the store must be asked.

        Of two servers with one store, only the one that a client chose hears it give its lease
        back (RFC 2131, 4.4.6). So confirmed is what was granted to a client that had chosen us,
        until it says something to all servers that another one may answer. What was read at the
        start is not, nor a lease that was asked for without a server identifier, in INIT-REBOOT,
        RENEWING or REBINDING: that is a write to the store each time. The limit of this: a server
        that misses the broadcast in which a client chooses another one does not learn of it.
        """
        return self._confirmed.get(client)

    def is_free_for(self, client: MacAddress, address: IPv4Address, now: datetime) -> bool:
        """Whether the client may have this address of the pool."""
        number = int(address)
        if not self._first <= number <= self._last:
            return False
        entry = self._entries.get(number)
        if entry is not None and entry.client != client and entry.expires > now:
            return False
        return not self._is_barred(number, now)

    def choose(
        self, client: MacAddress, wanted: IPv4Address | None, now: datetime
    ) -> IPv4Address | None:
        """An address for the client: its last one, the wanted one, or any; None if all are held.

        The search begins at a place that only depends on the client, so that a machine usually
        gets the same address from every server, also from one that lost its leases.
        """
        known = self._by_client.get(client)
        if known is not None and self.is_free_for(client, known.address, now):
            return known.address
        if wanted is not None and self.is_free_for(client, wanted, now):
            return wanted
        if self._full_until is not None and now < self._full_until:
            return None
        return self._search(crc32(client.octets) % len(self._pool), now)

    def _search(self, start: int, now: datetime) -> IPv4Address | None:
        """The first address that nobody ever had, else the first that has expired."""
        size = len(self._pool)
        expired: int | None = None
        fresh = len(self._entries) + len(self._excluded) < size
        for step in range(size):
            number = self._first + (start + step) % size
            entry = self._entries.get(number)
            if self._is_barred(number, now):
                continue
            if entry is None:
                return IPv4Address(number)
            if expired is None and entry.expires <= now:
                expired = number
                if not fresh:
                    break
        return None if expired is None else IPv4Address(expired)

    def _is_barred(self, number: int, now: datetime) -> bool:
        if number in self._excluded:
            return True
        return number in self._blocked and self._blocked[number] > now

    def note_full(self, now: datetime) -> None:
        """Nothing was free: spare the search until something can be, at most for a second."""
        self.changes += 1
        self._full_until = now + timedelta(seconds=1)

    def offer(self, lease: Lease) -> None:
        """Hold an address for a client; a lease that lasts longer stays as it is."""
        known = self._by_client.get(lease.client)
        if known is None or known.address != lease.address or known.expires < lease.expires:
            self._enter(lease)

    def grant(self, lease: Lease) -> Lease | None:
        """Note a lease that is about to be stored; until then none of this client is confirmed.

        Returns the client's lease of another address, which this one replaces.
        """
        known = self._by_client.get(lease.client)
        self._enter(lease)
        self._confirmed.pop(lease.client, None)
        return None if known is None or known.address == lease.address else known

    def confirm(self, lease: Lease) -> None:
        """The store has this lease, and the client chose us."""
        if self._by_client.get(lease.client) == lease:
            self.changes += 1
            self._confirmed[lease.client] = lease

    def doubt(self, client: MacAddress) -> None:
        """The store may have another lease of this client by now."""
        self.changes += 1
        self._confirmed.pop(client, None)

    def _enter(self, lease: Lease) -> None:
        self.changes += 1
        number = int(lease.address)
        before = self._entries.get(number)
        if before is not None and before.client != lease.client:
            self._by_client.pop(before.client, None)
            self._confirmed.pop(before.client, None)
        old = self._by_client.get(lease.client)
        if old is not None and old.address != lease.address:
            self._entries.pop(int(old.address), None)
            self._confirmed.pop(lease.client, None)
        self._entries[number] = lease
        self._by_client[lease.client] = lease

    def remove(self, lease: Lease) -> None:
        """Forget an offer or lease, if it is still the client's."""
        if self._by_client.get(lease.client) == lease:
            self.changes += 1
            del self._by_client[lease.client]
            self._confirmed.pop(lease.client, None)
            del self._entries[int(lease.address)]
            self._full_until = None

    def quarantine(self, address: IPv4Address, until: datetime) -> None:
        """Another machine uses this address: give it to nobody for a while."""
        self.changes += 1
        self._blocked = {
            number: end for number, end in self._blocked.items() if end > until - QUARANTINE_TIME
        }
        self._blocked[int(address)] = until
