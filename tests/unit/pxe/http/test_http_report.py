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


EVENT = {
    "name": "subiquity/Install/install/curtin_install",
    "description": "installing system",
    "event_type": "finish",
    "origin": "curtin",
    "timestamp": 1795270800.5,
    "level": "INFO",
    "result": "SUCCESS",
}
"""As curtin's WebHookHandler posts it."""


def test_a_step_of_ubuntus_installer_is_progress():
    words = "finish subiquity/Install/install/curtin_install SUCCESS: installing system"
    assert decode_report(json.dumps(EVENT).encode()) == Report(ReportKind.PROGRESS, words)


@pytest.mark.parametrize("description", ["usermod\n--password x", "x" * 101, ""])
def test_the_text_of_a_command_is_not_kept(description: str):
    body = json.dumps(EVENT | {"description": description, "event_type": "start"}).encode()
    words = "start subiquity/Install/install/curtin_install SUCCESS"
    assert decode_report(body) == Report(ReportKind.PROGRESS, words)


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
        (b'{"kind": "progress", "event_type": "start"}', "unknown key 'kind', expected an event"),
        (b'{"event_type": 1}', "are strings"),
        (b'{"event_type": "start", "description": {}}', "are strings"),
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


FORM = (
    b"pub_key_rsa=ssh-rsa+AAAA+root%40x%0A&pub_key_ecdsa=N%2FA&pub_key_ed25519=&"
    b"instance_id=x-1&hostname=x&fqdn=x.example.org"
)


def test_the_last_word_of_cloud_init_says_that_a_host_is_installed() -> None:
    report = decode_report(FORM)
    assert report.kind is ReportKind.INSTALLED
    assert report.message == "cloud-init has finished"
    assert report.data == {
        "pub_key_rsa": "ssh-rsa AAAA root@x",
        "pub_key_ed25519": "",
        "instance_id": "x-1",
        "hostname": "x",
        "fqdn": "x.example.org",
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (FORM + b"&more=1", "form"),
        (b"hostname=x&more=1", "unknown field 'more'"),
        (b"hostname=x&&", "form"),
        (b"hostname=\xff", "form"),
        (b"hostname=a%00b", "control"),
        (b"hostname=a%0Ab", "control"),
    ],
)
def test_another_form_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(DecodeError, match=told):
        decode_report(body)
