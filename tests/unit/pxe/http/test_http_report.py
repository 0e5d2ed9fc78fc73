"""A report is a small JSON object or one sentence saying why not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.errors import DecodeError
from pxe.http.report import decode_report
from pxe.site import Report, ReportKind


def test_a_report_is_read():
    body = json.dumps({"kind": "progress", "message": "ä", "data": {"disk": {"bytes": 1}}})
    assert decode_report(body.encode()) == Report(ReportKind.PROGRESS, "ä", {"disk": {"bytes": 1}})


def test_message_and_data_may_be_left_out():
    assert decode_report(b'{"kind": "installed"}') == Report(ReportKind.INSTALLED)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"kind": "progress", "data": {"x": NaN}}', "not JSON"),
        (b'{"kind": "progress", "data": {"x": 1e999}}', "not JSON"),
        (b'{"kind": "progress", "data": {"x": ' + b"9" * 5000 + b"}}", "not JSON"),
        (rb'{"kind": "progress", "message": "\ud800"}', "not JSON"),
        (rb'{"kind": "progress", "data": {"a": ["\u0000"]}}', "NUL"),
        (rb'{"kind": "progress", "data": {"\u0000": 1}}', "NUL"),
        (b"[]", "not a JSON object"),
        (b"{}", "kind is missing"),
        (b'{"kind": "reboot"}', "kind is missing or unknown, expected one of inspection"),
        (b'{"kind": ["progress"]}', "kind is missing"),
        (b'{"kind": "progress", "massage": ""}', "unknown key 'massage'"),
        (b'{"kind": "progress", "message": 1}', "message is not a string"),
        (b'{"kind": "progress", "message": "' + b"x" * 4097 + b'"}', "message is not a string"),
        (b'{"kind": "progress", "data": []}', "data is not a JSON object"),
    ],
)
def test_what_is_no_report_gets_a_sentence(body: bytes, sentence: str):
    with pytest.raises(DecodeError, match=sentence):
        decode_report(body)


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_body_raises_anything_else(body: bytes):
    with pytest.raises(DecodeError):
        decode_report(body)
