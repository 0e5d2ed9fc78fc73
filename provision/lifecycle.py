"""The life of a host: one table of states and events, words after Ironic."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class HostState(Enum):
    """Where a host stands between bare metal and a running system."""

    ENROLLED = "enrolled"
    """In the inventory, never seen by us."""
    INSPECTING = "inspecting"
    AVAILABLE = "available"
    """Inspected; nothing of ours is installed."""
    ARMED = "armed"
    """An operator allowed one installation; the next network boot begins it."""
    DEPLOYING = "deploying"
    """The answer went out: the arming is used up."""
    ACTIVE = "active"
    FAILED = "failed"


class EventKind(Enum):
    """What can happen to a host."""

    INSPECTION_STARTED = "inspection started"
    INSPECTED = "inspected"
    ARMED = "armed"
    DISARMED = "disarmed"
    ANSWER_DELIVERED = "answer delivered"
    PROGRESS = "progress"
    INSTALLED = "installed"
    FAILED = "failed"


OPERATOR_EVENTS = frozenset({EventKind.ARMED, EventKind.DISARMED})
"""Only a person causes these; every other event comes from the wire."""

WIRE_EVENTS = frozenset(EventKind) - OPERATOR_EVENTS


class Back(Enum):
    """Not a state of its own: where the host stood before the operator's last word."""

    PRIOR = "prior"


REMEMBERED = frozenset({HostState.ARMED})
"""Entering one of these keeps the state that is left, for the way back."""

ERASES = frozenset({HostState.ACTIVE})
"""Arming a host in one of these destroys an installed system: it takes an extra word."""

_S, _E = HostState, EventKind

TRANSITIONS: Mapping[tuple[HostState, EventKind], HostState | Back] = {
    (_S.ENROLLED, _E.INSPECTION_STARTED): _S.INSPECTING,
    (_S.ENROLLED, _E.ARMED): _S.ARMED,
    # A ramdisk that died is simply started again.
    (_S.INSPECTING, _E.INSPECTION_STARTED): _S.INSPECTING,
    (_S.INSPECTING, _E.PROGRESS): _S.INSPECTING,
    (_S.INSPECTING, _E.INSPECTED): _S.AVAILABLE,
    (_S.INSPECTING, _E.FAILED): _S.FAILED,
    (_S.INSPECTING, _E.ARMED): _S.ARMED,
    (_S.AVAILABLE, _E.PROGRESS): _S.AVAILABLE,
    (_S.AVAILABLE, _E.INSPECTED): _S.AVAILABLE,
    (_S.AVAILABLE, _E.ARMED): _S.ARMED,
    # A role that is only inspected uses its arming up here.
    (_S.ARMED, _E.INSPECTION_STARTED): _S.INSPECTING,
    (_S.ARMED, _E.PROGRESS): _S.ARMED,
    (_S.ARMED, _E.ANSWER_DELIVERED): _S.DEPLOYING,
    # The server was killed between an answer's last byte and its note: the report proves it.
    (_S.ARMED, _E.INSTALLED): _S.ACTIVE,
    (_S.ARMED, _E.FAILED): _S.FAILED,
    (_S.ARMED, _E.DISARMED): Back.PRIOR,
    (_S.DEPLOYING, _E.PROGRESS): _S.DEPLOYING,
    (_S.DEPLOYING, _E.INSTALLED): _S.ACTIVE,
    (_S.DEPLOYING, _E.FAILED): _S.FAILED,
    # The operator gives up an installation that will never report.
    (_S.DEPLOYING, _E.DISARMED): _S.FAILED,
    (_S.ACTIVE, _E.ARMED): _S.ARMED,
    (_S.FAILED, _E.ARMED): _S.ARMED,
    # What had stopped was mended on the host, and went on to its end.
    (_S.FAILED, _E.INSTALLED): _S.ACTIVE,
}
"""What is not here cannot happen."""


@dataclass(frozen=True, slots=True)
class Illegal:
    """An event that the state does not know; nothing changes."""

    state: HostState
    event: EventKind

    @property
    def reason(self) -> str:
        """A sentence's end, for example `active does not know 'installed'`."""
        return f"a host that is {self.state.value} does not know '{self.event.value}'"


def advance(
    state: HostState, event: EventKind, prior: HostState = HostState.ENROLLED
) -> HostState | Illegal:
    """The state after `event`; `prior` is the state before the host was armed."""
    match TRANSITIONS.get((state, event)):
        case None:
            return Illegal(state, event)
        case Back.PRIOR:
            return prior
        case HostState() as after:
            return after


def prior_after(before: HostState, after: HostState, prior: HostState | None) -> HostState | None:
    """What to remember as the way back once a host went from `before` to `after`."""
    if after not in REMEMBERED:
        return None
    if before is after:
        return prior
    # An inspection that is interrupted is not resumed: its boot session is over.
    return HostState.ENROLLED if before is HostState.INSPECTING else before
