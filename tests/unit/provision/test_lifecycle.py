"""The table of states and events, read back whole."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lifecycle import (
    OPERATOR_EVENTS,
    TRANSITIONS,
    WIRE_EVENTS,
    Back,
    EventKind,
    HostState,
    Illegal,
    advance,
    prior_after,
)

E, S = EventKind, HostState

ROWS = {
    S.ENROLLED: {E.INSPECTION_STARTED: S.INSPECTING, E.ARMED: S.ARMED},
    S.INSPECTING: {
        E.INSPECTION_STARTED: S.INSPECTING,
        E.PROGRESS: S.INSPECTING,
        E.INSPECTED: S.AVAILABLE,
        E.FAILED: S.FAILED,
        E.ARMED: S.ARMED,
    },
    S.AVAILABLE: {
        E.PROGRESS: S.AVAILABLE,
        E.INSPECTED: S.AVAILABLE,
        E.ARMED: S.ARMED,
    },
    S.ARMED: {
        E.INSPECTION_STARTED: S.INSPECTING,
        E.PROGRESS: S.ARMED,
        E.ANSWER_DELIVERED: S.DEPLOYING,
        E.INSTALLED: S.ACTIVE,
        E.FAILED: S.FAILED,
        E.DISARMED: "prior",
    },
    S.DEPLOYING: {
        E.PROGRESS: S.DEPLOYING,
        E.INSTALLED: S.ACTIVE,
        E.FAILED: S.FAILED,
        E.DISARMED: S.FAILED,
    },
    S.ACTIVE: {E.ARMED: S.ARMED},
    S.FAILED: {E.ARMED: S.ARMED, E.INSTALLED: S.ACTIVE},
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("event", E)
def test_every_pair_of_state_and_event_is_decided(state, event):
    expected = ROWS[state].get(event)
    got = advance(state, event, S.ACTIVE)
    if expected is None:
        assert got == Illegal(state, event)
        assert state.value in got.reason
        assert event.value in got.reason
    else:
        assert got is (S.ACTIVE if expected == "prior" else expected)


def test_every_state_can_be_reached_from_enrolled():
    seen, todo = {S.ENROLLED}, deque([S.ENROLLED])
    while todo:
        state = todo.popleft()
        for event in E:
            after = advance(state, event)
            if isinstance(after, S) and after not in seen:
                seen.add(after)
                todo.append(after)
    assert seen == set(S)


def test_only_an_operator_leads_to_armed():
    into = {event for (before, event), after in TRANSITIONS.items()
            if after is S.ARMED and before is not S.ARMED}  # fmt: skip
    assert into == {E.ARMED}
    assert into <= OPERATOR_EVENTS
    assert all(
        event in OPERATOR_EVENTS for (_, event), to in TRANSITIONS.items() if to is Back.PRIOR
    )


@given(st.lists(st.sampled_from(E), max_size=60))
def test_no_sequence_installs_more_often_than_an_operator_armed(events):
    state, prior = S.ENROLLED, None
    armings = installations = 0
    for event in events:
        after = advance(state, event, prior or S.ENROLLED)
        if isinstance(after, Illegal):
            continue
        prior = prior_after(state, after, prior)
        armings += event is E.ARMED
        installations += after is S.DEPLOYING and state is not S.DEPLOYING
        state = after
        assert installations <= armings


@given(st.sampled_from(S), st.lists(st.sampled_from(sorted(WIRE_EVENTS, key=str)), max_size=60))
def test_wire_events_alone_install_at_most_once_and_only_an_armed_host(start, events):
    state, installations = start, 0
    for event in events:
        after = advance(state, event)
        if isinstance(after, HostState):
            installations += after is S.DEPLOYING and state is not S.DEPLOYING
            state = after
    assert installations <= (start is S.ARMED)


@pytest.mark.parametrize(
    ("before", "back"),
    [
        (S.ENROLLED, S.ENROLLED),
        (S.INSPECTING, S.ENROLLED),
        (S.AVAILABLE, S.AVAILABLE),
        (S.ACTIVE, S.ACTIVE),
        (S.FAILED, S.FAILED),
    ],
)
def test_disarming_brings_back_what_the_host_was(before, back):
    prior = prior_after(before, S.ARMED, None)
    assert advance(S.ARMED, E.DISARMED, prior) is back
    assert prior_after(S.ARMED, back, prior) is None
