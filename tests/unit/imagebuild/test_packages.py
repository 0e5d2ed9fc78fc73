"""Package databases of images: dpkg's text, rpm's SQLite and Berkeley DB."""

import sqlite3
import struct
from pathlib import Path

import pytest

from imagebuild.inside.errors import Unreadable
from imagebuild.inside.folder import open_folder
from imagebuild.inside.packages import Package, packages
from imagebuild.inside.rpmdb import BDB_HASH_MAGIC, Tag, headers
from imagebuild.inside.tree import Tree
from tests.unsealed import make

STATUS = """Package: bash
Status: install ok installed
Installed-Size: 7000
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b2
Description: shell
 a line: with a colon

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9
"""


def header(tags: dict[int, str | int]) -> bytes:
    """An rpm header as it lies in the database."""
    index, data = b"", b""
    for tag, value in tags.items():
        if isinstance(value, int):
            data = data.ljust(-(-len(data) // 4) * 4, b"\0")
        kind = 4 if isinstance(value, int) else 6
        index += struct.pack(">IIiI", tag, kind, len(data), 1)
        data += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(data)) + index + data


BASH = header(
    {
        63: "a region that we skip",
        Tag.NAME: "bash",
        Tag.VERSION: "5.1.8",
        Tag.RELEASE: "9.el9",
        Tag.EPOCH: 1,
        Tag.ARCH: "x86_64",
        Tag.SIZE: 7738778,
        Tag.LICENSE: "GPLv3+",
        Tag.SOURCE_RPM: "bash-5.1.8-9.el9.src.rpm",
    }
)
KEY = header({Tag.NAME: "gpg-pubkey", Tag.VERSION: "8483c65d", Tag.RELEASE: "5ccc5b19"})
EXPECTED = Package(
    "bash", "1:5.1.8-9.el9", "x86_64", "rpm", "bash-5.1.8-9.el9.src.rpm", 7738778, "GPLv3+"
)


def sqlite_database(path: Path, blobs: list[bytes]) -> bytes:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in blobs])
    database.close()
    return path.read_bytes()


def bdb_database(blob: bytes, size: int = 512) -> bytes:
    """One package on as many overflow pages as it needs (Berkeley DB, db_page.h)."""
    first = bytearray(size)
    struct.pack_into("<I", first, 12, BDB_HASH_MAGIC)
    struct.pack_into("<I", first, 20, size)
    bucket = bytearray(size)
    struct.pack_into("<HHBB", bucket, 20, 2, 0, 0, 13)
    struct.pack_into("<2H", bucket, 26, 490, 470)
    struct.pack_into("<B3xII", bucket, 470, 3, 2, len(blob))
    pages, room = [], size - 26
    parts = [blob[at : at + room] for at in range(0, len(blob), room)]
    for number, part in enumerate(parts, 2):
        page = bytearray(size)
        following = number + 1 if number < len(parts) + 1 else 0
        struct.pack_into("<I", page, 16, following)
        struct.pack_into("<HHBB", page, 20, 1, len(part), 0, 7)
        page[26 : 26 + len(part)] = part
        pages.append(bytes(page))
    return bytes(first) + bytes(bucket) + b"".join(pages)


def _packages(folder: Path) -> list[Package]:
    with open_folder(folder) as root:
        return packages(Tree(root))


def test_installed_debian_packages_are_listed_with_their_sources(tmp_path):
    make(tmp_path, {"var/lib/dpkg/status": STATUS})
    assert _packages(tmp_path) == [
        Package("bash", "5.2.15-2+b2", "amd64", "deb", "bash", 7000 << 10),
        Package("libc6", "2.36-9", "amd64", "deb", "glibc"),
    ]


@pytest.mark.parametrize("folder", ["usr/lib/sysimage/rpm", "var/lib/rpm"])
def test_rpm_packages_are_listed_without_keys(folder, tmp_path):
    make(tmp_path, {f"{folder}/": ""})
    sqlite_database(tmp_path / folder / "rpmdb.sqlite", [BASH, KEY])
    assert _packages(tmp_path) == [EXPECTED]


def test_the_database_of_older_rpm_is_read_too(tmp_path):
    make(tmp_path, {"var/lib/rpm/": ""})
    (tmp_path / "var/lib/rpm/Packages").write_bytes(bdb_database(BASH))
    assert _packages(tmp_path) == [EXPECTED]


def test_a_system_without_a_database_has_no_packages(tmp_path):
    assert _packages(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"something else entirely",
        b"SQLite format 3\0" + bytes(100),
        bdb_database(BASH)[:1100],
        bdb_database(header({Tag.NAME: "x" * 200})[:40]),
    ],
)
def test_a_broken_database_is_refused_in_words(data):
    with pytest.raises(Unreadable, match="rpm's database"):
        list(headers(data))
