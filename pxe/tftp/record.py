"""What the operator gets to know of transfers: log lines and observations, at a bearable pace."""

import logging
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address
from time import monotonic

from pxe.site import Observation, Outcome, Service
from pxe.tftp.content import Observe
from pxe.tftp.refusal import Pace
from pxe.tftp.wire import printable

log = logging.getLogger(__name__)

REPORT_EVERY = 1.0
"""Seconds between two observations of malformed requests; the others are counted."""
LOGGED_MAX = 10
"""Refused requests logged in REPORT_EVERY seconds; all are observed."""

_SECRET = re.compile(r"((?:^|/)(?:answer|report)/).*", re.IGNORECASE | re.DOTALL)
"""Names that HTTP has: what follows opens something, and TFTP has none of it."""


def subject_of(name: str) -> str:
    """A requested name as it may be shown and kept."""
    return _SECRET.sub(r"\1…", printable(name))


class Record:
    """Tells of transfers and refusals; never raises."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._malformed = Pace(1, REPORT_EVERY)
        self._logged = Pace(LOGGED_MAX, REPORT_EVERY)

    def malformed(self, address: str, reason: str, now: float) -> None:
        """A datagram was no request."""
        log.debug("ignored datagram address=%s reason=%s", address, reason)
        if self._malformed.admits(now):
            facts: dict[str, str | int] = {"datagrams": self._malformed.skipped + 1}
            self._malformed.skipped = 0
            self.tell(Outcome.REFUSED, "malformed request", address, reason, facts)

    def tell(
        self,
        outcome: Outcome,
        name: str,
        address: str,
        reason: str,
        facts: dict[str, str | int] | None = None,
    ) -> None:
        """One line and one observation of how a request ended."""
        subject = subject_of(name)
        if outcome is not Outcome.REFUSED or self._logged.admits(monotonic()):
            words = " ".join(f"{key}={value}" for key, value in (facts or {}).items())
            if self._logged.skipped:
                words += f" refused_unlogged={self._logged.skipped}"
                self._logged.skipped = 0
            log.info(
                "tftp %s file=%s address=%s reason=%r %s",
                outcome.value, subject, address, reason, words,
            )  # fmt: skip
        try:
            self._observe(
                Observation(
                    service=Service.TFTP,
                    outcome=outcome,
                    at=datetime.now(UTC),
                    subject=subject,
                    reason=reason,
                    address=IPv4Address(address),
                    facts=facts or {},
                )
            )
        except Exception:
            log.exception("observation lost")
