"""What is logged and observed of TFTP requests."""

import logging

import pytest

from pxe.site import Outcome
from pxe.tftp.record import Record, subject_of

TOKEN = "kX3v0Zq9rT7mW1yB5nC8"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("snponly.efi", "snponly.efi"),
        ("ipxe/52:54:00:aa:00:01.ipxe", "ipxe/52:54:00:aa:00:01.ipxe"),
        (f"answer/{TOKEN}", "answer/…"),
        (f"/report/{TOKEN}", "/report/…"),
        (f"a/ANSWER/{TOKEN}/x", "a/ANSWER/…"),
        ("answers/list", "answers/list"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_a_name_that_could_hold_a_token_is_not_shown(name, shown):
    assert subject_of(name) == shown


def test_a_token_asked_for_over_tftp_reaches_neither_log_nor_store(caplog):
    caplog.set_level(logging.DEBUG)
    told = []
    Record(told.append).tell(Outcome.REFUSED, f"answer/{TOKEN}", "10.0.0.5", "no such file")
    assert told[0].subject == "answer/…"
    assert TOKEN not in caplog.text + repr(told)
    assert "answer/…" in caplog.text
