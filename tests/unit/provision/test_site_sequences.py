"""Whatever order things happen in: one arming, one installation."""

from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from provision import boots
from provision import site as site_module
from provision.arming import NotArmed, arm, disarm
from provision.lifecycle import HostState
from provision.site import InventorySite
from provision.store import Store
from pxe.boot import Kernel
from pxe.site import Answer, Report, ReportKind
from tests.unit.provision.racks import inventory, mac_of

URL = "http://10.20.0.1"
ADDRESSES = (IPv4Address("10.20.0.11"), IPv4Address("10.20.0.12"), IPv4Address("10.20.3.9"))

MOSTLY_ITS_OWN = st.sampled_from((ADDRESSES[0],) * 6 + ADDRESSES[1:])
"""Where requests come from: hypothesis must often get far enough for the next mistake."""


def mostly_new(data, tokens):
    """One of the tokens ever seen, often one of the newest."""
    return tokens[-1 - min(data.draw(st.sampled_from((0, 0, 0, 1, 1, 2, 5, 99))), len(tokens) - 1)]


class OneHost(RuleBasedStateMachine):
    """A host, its network, its operator and somebody who repeats every URL ever seen."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        rack = inventory(Path(self.folder.name))
        self.store = Store(rack.store)
        self.site = InventorySite(rack, self.store, lambda: datetime(2026, 5, 4, tzinfo=UTC))
        self.answers, self.reports = ["made-up"], ["made-up"]
        self.armings = self.bodies = 0

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule(force=st.booleans())
    def operator_arms(self, force):
        before = self.store.record("img").state
        try:
            arm(self.store, ["img"], force=force)
        except NotArmed:
            return
        self.armings += before is not HostState.ARMED

    @rule()
    def an_installation_is_due(self):
        if self.store.record("img").state is HostState.DEPLOYING:
            disarm(self.store, ["img"])
        self.operator_arms(True)
        self.host_boots(ADDRESSES[0])

    @rule(really=st.sampled_from((True, False, False)))
    def operator_disarms(self, really):
        if not really:
            return
        try:
            disarm(self.store, ["img"])
        except NotArmed:
            assert self.store.record("img").state not in (HostState.ARMED, HostState.DEPLOYING)

    @rule(address=MOSTLY_ITS_OWN)
    def host_boots(self, address):
        target = self.site.boot_targets([(mac_of(1), address)], URL)[0]
        if isinstance(target, Kernel):
            assert address == ADDRESSES[0]
            for word in target.arguments:
                key, _, value = word.partition("=")
                kept = {"rackseed.answer": self.answers, "rackseed.report": self.reports}
                if key in kept:
                    kept[key].append(value.rpartition("/")[2])

    @rule(data=st.data(), address=MOSTLY_ITS_OWN, delivered=st.sampled_from((True, True, False)))
    def somebody_fetches(self, data, address, delivered):
        token = mostly_new(data, self.answers)
        opened = self.site.answer(token, address)
        if isinstance(opened, Answer):
            assert address == ADDRESSES[0]
            assert self.store.record("img").state is HostState.ARMED
            if delivered:
                self.site.answer_delivered(token)
                self.bodies += 1
                assert self.store.record("img").state is HostState.DEPLOYING

    @rule(data=st.data(), address=MOSTLY_ITS_OWN, kind=st.sampled_from(ReportKind))
    def somebody_reports(self, data, address, kind):
        token = mostly_new(data, self.reports)
        before = self.store.record("img").state
        refused = self.site.report(token, address, Report(kind))
        if refused is not None:
            assert self.store.record("img").state is before
        if address != ADDRESSES[0]:
            assert refused is not None

    @invariant()
    def no_installation_without_an_arming(self):
        assert self.bodies <= self.armings
        delivered = self.store.events("img", kinds=("answer delivered",))
        assert len(delivered) == self.bodies


@pytest.fixture(autouse=True, scope="module")
def without_waiting():
    """Each boot is a new one, and a broken delivery may be repeated at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boots, "SAME_BOOT_S", 0)
        patch.setattr(site_module, "CLAIM_S", 0)
        yield


TestOneHost = OneHost.TestCase
TestOneHost.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.generate,),  # shrinking would take minutes: every step writes to a disk
    suppress_health_check=[HealthCheck.too_slow],
)
