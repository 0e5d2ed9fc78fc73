"""The course of one transfer without a socket: what to send when, and when to give up."""

from dataclasses import dataclass

RTO_FIRST = 1.0
"""Seconds before the first retransmission while nothing is measured (RFC 6298, 2.1)."""
RTO_MIN, RTO_MAX = 0.2, 5.0
GRANULARITY = 0.1
"""Seconds that a client may be later than ever before (G in RFC 6298, 2.3)."""
RETRIES = 8
"""Timeouts in a row without any progress before the client is taken for dead."""
PATIENCE = 60
"""Seconds of silence that a client may get by asking for a long timeout."""
BUDGET_SLACK = 128
"""Blocks that may be resent beyond twice the file: small files on bad wires."""
STRIKES = 8
"""Windows with losses, less those without, after which only single blocks go out."""
RTT_MASK = 31
"""One round trip in 32 is measured where each block is acknowledged."""


@dataclass(frozen=True, slots=True)
class Send:
    """Blocks `first` to `first + count - 1`; block 0 stands for the OACK."""

    first: int
    count: int
    copies: int = 1
    """2 after falling back: a client that counts on a window answers at once to a repetition."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until the next acknowledgment or timeout."""


@dataclass(frozen=True, slots=True)
class Done:
    """The client has the whole file."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The transfer failed."""

    reason: str


Action = Send | Wait | Done | GiveUp
WAIT = Wait()
DONE = Done()


class Transfer:
    """Go-back-N over blocks numbered 1 to `blocks`, without rollover.

    At most `2 * blocks + BUDGET_SLACK` blocks are ever resent. A window that the network
    reorders can otherwise make client and server answer each other without end: the client
    acknowledges every block it did not expect, the server resends a window for each of them
    (EDK2 met 20 GB for a file of 1.7 MB). So an acknowledgment causes at most one resending of
    what is in flight, as in TCP's recovery (RFC 6582), and after `STRIKES` such windows only
    one block is in flight.
    """

    __slots__ = (
        "acked", "blocks", "budget", "copies", "fixed_rto", "high", "patience", "recover",
        "retries", "rto", "rttvar", "sent", "sent_at", "srtt", "strikes", "window",
    )  # fmt: skip

    def __init__(
        self, blocks: int, window: int = 1, *, options: bool = False, timeout: int | None = None
    ) -> None:
        """`options`: an OACK goes first. `timeout`: seconds that the client asked for."""
        self.blocks = blocks
        self.window = window
        self.copies = 1
        self.acked = self.sent = self.high = -1 if options else 0
        self.recover = -1
        """The last block in flight at the latest resending."""
        self.budget = 2 * blocks + BUDGET_SLACK
        self.strikes = 0
        self.retries = 0
        self.sent_at = 0.0
        self.srtt = self.rttvar = 0.0
        self.fixed_rto = timeout is not None
        self.rto = RTO_FIRST if timeout is None else float(timeout)
        self.patience = RETRIES if timeout is None else min(max(PATIENCE // timeout, 2), RETRIES)

    @property
    def deadline(self) -> float:
        """When to call `expire`, if no acknowledgment comes before."""
        if self.fixed_rto:
            return self.sent_at + self.rto
        return self.sent_at + min(self.rto * (1 << self.retries), RTO_MAX)

    @property
    def resent(self) -> int:
        """Blocks sent more than once."""
        return 2 * self.blocks + BUDGET_SLACK - self.budget

    def start(self, now: float) -> Action:
        """The first thing to send."""
        count = 1 if self.sent < 0 else min(self.window, self.blocks)
        return self._send(self.acked + 1, count, now)

    def advance(self, now: float) -> int:
        """All that was sent is acknowledged; how many new blocks follow, 0 at the end.

        The way of nearly every block: it makes no object. Meant for `copies == 1` only.
        """
        acked = self.acked = self.sent
        window = self.window
        if window > 1 or not acked & RTT_MASK:
            self._look_back(now)
        self.retries = 0
        self.sent_at = now
        count = self.blocks - acked
        if count > window:
            count = window
        self.sent = self.high = acked + count
        return count

    def acknowledge(self, number: int, now: float) -> Action:
        """An ACK with block `number`, modulo 65536, arrived."""
        block = self.acked + ((number - self.acked) & 0xFFFF)
        if block > self.high:
            return WAIT  # never sent, or older than what is acknowledged
        if block == self.acked:
            return self._duplicate(now)
        if block >= self.sent:
            return self._all_arrived(block, now)
        self.acked = block
        self.retries = 0
        if block <= self.recover:
            return self._slide(now)
        return self._resend_flight(now)

    def expire(self, now: float) -> Action:
        """The deadline passed."""
        self.retries += 1
        if self.retries > self.patience:
            return GiveUp(f"no answer to block {self.acked + 1}, sent {self.retries} times")
        return self._resend_flight(now)

    def _duplicate(self, now: float) -> Action:
        # With single blocks, answering a repeated ACK doubles every packet from there on: the
        # sorcerer's apprentice (RFC 1123, 4.2.3.1). With windows it tells of a lost first block.
        if self.window == 1 or self.acked <= self.recover or self.acked == self.sent:
            return WAIT
        return self._resend_flight(now)

    def _all_arrived(self, block: int, now: float) -> Action:
        self.sent = block
        if self.copies == 1 and block == self.high:
            count = self.advance(now)
            return Send(block + 1, count) if count else DONE
        self.acked = block
        self.retries = 0
        if block == self.blocks:
            return DONE
        return self._send(block + 1, min(self.window, self.blocks - block), now)

    def _slide(self, now: float) -> Action:
        """Within a recovery only new blocks go out: what was resent is still on its way."""
        count = min(self.acked + self.window, self.blocks) - self.sent
        return self._send(self.sent + 1, count, now) if count > 0 else WAIT

    def _resend_flight(self, now: float) -> Action:
        if self.window > 1 and self.sent > 0:
            self.strikes += 1
            if self.strikes >= STRIKES:
                self.window, self.copies = 1, 2
        self.recover = self.high
        first = self.acked + 1
        count = 1 if first == 0 else min(self.window, self.blocks - self.acked)
        return self._send(first, count, now)

    def _send(self, first: int, count: int, now: float) -> Action:
        last = first + count - 1
        new = max(last - max(self.high, first - 1), 0)
        self.budget -= count * self.copies - new
        if self.budget < 0:
            return GiveUp("too many blocks had to be sent again")
        self.sent = last
        self.high = max(self.high, last)
        self.sent_at = now
        return Send(first, count, self.copies)

    def _look_back(self, now: float) -> None:
        """Learn from a flight that arrived at the first attempt (RFC 6298, 2.2, 2.3 and 3)."""
        if self.acked <= self.recover:
            return
        if self.strikes:
            self.strikes -= 1
        if self.fixed_rto:
            return
        rtt = now - self.sent_at
        if self.srtt:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt += (rtt - self.srtt) / 8
        else:
            self.srtt, self.rttvar = rtt, rtt / 2
        self.rto = min(max(self.srtt + max(4 * self.rttvar, GRANULARITY), RTO_MIN), RTO_MAX)
