"""Sums of files, from several threads."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provision.digests import Digests

WAIT_S = 20


def test_a_file_that_is_read_for_long_keeps_nobody_from_another(tmp_path, monkeypatch):
    slow, quick = tmp_path / "slow.img", tmp_path / "quick.img"
    slow.write_bytes(b"slow")
    quick.write_bytes(b"quick")
    begun, may_end, read = threading.Event(), threading.Event(), []
    real = hashlib.file_digest

    def reading(file, name):
        read.append(Path(file.name).name)
        if file.name == str(slow):
            begun.set()
            assert may_end.wait(WAIT_S)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", reading)
    digests = Digests()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(digests.of, slow) for _ in range(3)]
        assert begun.wait(WAIT_S)
        try:
            assert pool.submit(digests.of, quick).result(WAIT_S).size == 5
        finally:
            may_end.set()
        sums = {one.result(WAIT_S).sha256 for one in asked}
    assert sums == {hashlib.sha256(b"slow").hexdigest()}
    assert read == ["slow.img", "quick.img"]


def test_a_missing_file_is_an_error_each_time(tmp_path):
    digests = Digests()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            digests.of(tmp_path / "none")
