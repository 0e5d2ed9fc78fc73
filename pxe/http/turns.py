"""The order of big transfers: first come, first served, instead of everybody late together."""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

AT_ONCE: Final = 2
"""Transfers of one process that run together. Few: what was sent is still in the processor's cache
when it is sent to the next, and of a network of 10 Gbit/s that two processes share each of them has
more than `QUICK`; with 4 they took one another for slow, and everybody ended late."""
TURN_LIMIT: Final = 0.25
"""Seconds after which a transfer that is slow by itself no longer holds others up: clients of
1 Gbit/s fill a faster network, as more and more of them run."""
AHEAD: Final = 1 << 20
"""Bytes that the kernel takes ahead of each of these few: left to itself it takes so little that a
network of 10 Gbit/s stands still while the interpreter makes scripts for a millisecond."""
QUICK: Final = 130_000_000
"""Bytes per second that no client of 1 Gbit/s reaches: who does keeps its place, for a while."""
HOLD_LIMIT: Final = 3.0
"""Seconds of that: enough for a quick client's initrd. Who writes an image to a disk that is no
faster leaves the network to others besides."""
SIP: Final = 8 << 10
"""Bytes that a client gets now and then whose turn has not come: they fit into any buffer."""
SIP_EVERY: Final = 2.0
"""Seconds after which a transfer that waits is to send a little: firmware that hears nothing gives
up, EDK2's after 5 (PcdHttpIoTimeout), GRUB after 30."""
WAIT_LIMIT: Final = 60.0
"""Seconds after which a transfer begins whatever the others do."""
BEGUN_LIMIT: Final = 4096
"""Machines remembered that had their kernel and are to get their initrd next."""
SMALL: Final = 1 << 20
"""Bytes up to which a transfer waits for nobody."""


class _State(Enum):
    WAITING = "waiting"
    HOLDING = "holding"
    FREE = "free"
    """Begun, or over, without a place."""


def _nothing() -> None:
    """Nobody waits for this turn."""


def _none_sent() -> int:
    """Nobody has told."""
    return 0


class Turn:
    """One transfer's place in the order."""

    __slots__ = ("_fed", "_had", "_held", "_state", "begin", "sent", "since", "sip", "yielded")

    def __init__(self, since: float) -> None:
        self._state = _State.WAITING
        self.since = since
        """When it began to wait, then when it got its place or last proved to be quick."""
        self._fed = self._held = since
        self._had = 0
        self.begin: Callable[[], None] = _nothing
        """Called when a turn that had to wait has come."""
        self.sip: Callable[[], None] = _nothing
        """Called every `SIP_EVERY` seconds before that."""
        self.sent: Callable[[], int] = _none_sent
        """Bytes sent so far."""
        self.yielded: Callable[[], None] = _nothing
        """Called when its place went to another, and it goes on without."""

    @property
    def ahead(self) -> int:
        """Bytes that the kernel is to take ahead; 0: as many as it likes."""
        return AHEAD if self._state is _State.HOLDING else 0

    @property
    def begun(self) -> bool:
        """Whether the transfer may run."""
        return self._state is not _State.WAITING


class Turns:
    """Bounds how many machines share the server, so that the first ones end early.

    When 500 machines boot at once, sharing everything evenly would let all of them end last. A
    machine that had one file goes before those that had none: after its kernel it wants its
    initrd. A slow or stalled client holds its place for `TURN_LIMIT` only, and those that wait get
    a little to live on; `look`, called now and then, sees to both. Times are seconds of one clock,
    which never goes back.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._begun: dict[str, None] = {}
        """Machines that had one file; a dictionary, to know the oldest."""
        self._holding: dict[Turn, None] = {}
        """In the order in which they got their places."""
        self._first: deque[Turn] = deque()
        self._later: deque[Turn] = deque()

    def take(self, peer: str, size: int, now: float) -> Turn:
        """A turn for `size` bytes to a peer; one that has not begun is told by its `begin`."""
        turn = Turn(now)
        if size <= SMALL:
            turn._state = _State.FREE
            return turn
        first = self._has_begun(peer)
        if self._free:
            self._free -= 1
            self._hold(turn, now)
        else:
            (self._first if first else self._later).append(turn)
        return turn

    def give(self, turn: Turn, now: float) -> None:
        """The transfer is over, or its client went away while it waited."""
        held = turn._state is _State.HOLDING
        turn._state = _State.FREE  # those that waited are passed over when it is their turn
        # and keep nothing of their connection until then
        turn.begin, turn.sip, turn.sent = _nothing, _nothing, _none_sent
        turn.yielded = _nothing
        if held:
            del self._holding[turn]
            self._next(now)

    def look(self, now: float) -> None:
        """Let nobody hold a place, or wait for one, for too long."""
        for turn in list(self._holding):
            held = now - turn.since
            if held < TURN_LIMIT:
                continue
            sent = turn.sent()
            if sent - turn._had < QUICK * held or now - turn._held >= HOLD_LIMIT:
                turn.yielded()
                self.give(turn, now)
            else:
                turn.since, turn._had = now, sent
        for waiting in (self._first, self._later):
            while waiting and (waiting[0].begun or now - waiting[0].since >= WAIT_LIMIT):
                turn = waiting.popleft()
                if not turn.begun:
                    turn._state = _State.FREE
                    turn.begin()
            for turn in [turn for turn in waiting if now - turn._fed >= SIP_EVERY]:
                turn._fed = now
                turn.sip()

    def _has_begun(self, peer: str) -> bool:
        """Whether this is a machine's second file, which alone goes first."""
        if peer in self._begun:
            del self._begun[peer]
            return True
        self._begun[peer] = None
        if len(self._begun) > BEGUN_LIMIT:
            del self._begun[next(iter(self._begun))]
        return False

    def _hold(self, turn: Turn, now: float) -> None:
        turn._state = _State.HOLDING
        turn.since = turn._held = now
        self._holding[turn] = None

    def _next(self, now: float) -> None:
        for waiting in (self._first, self._later):
            while waiting:
                turn = waiting.popleft()
                if not turn.begun:
                    self._hold(turn, now)
                    turn.begin()
                    return
        self._free += 1
