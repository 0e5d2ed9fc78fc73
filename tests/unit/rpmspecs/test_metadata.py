"""Metadata of repositories is read, and what is none is told as such."""

import gzip
import lzma

import pytest

from rpmspecs.errors import RepositoryUnavailable
from rpmspecs.metadata import parse_primary, parse_repomd, unpack

REPOMD = b"""<?xml version="1.0"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo">
  <revision>1700000000</revision>
  <data type="primary">
    <checksum type="sha256">abc</checksum><location href="repodata/abc-primary.xml.gz"/>
  </data>
  <data type="group"><checksum type="sha">def</checksum><location href="repodata/c.xml"/></data>
</repomd>"""

PRIMARY = b"""<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">
  <package type="rpm"><name>a</name><arch>noarch</arch><version epoch="0" ver="1" rel="2"/>
    <checksum type="sha256" pkgid="YES">12</checksum><location href="Packages/a.rpm"/></package>
  <package type="rpm"><name>b</name><arch>src</arch><version epoch="3" ver="1" rel="2"/>
    <checksum type="md5" pkgid="YES">34</checksum><location href="b.src.rpm"/></package>
</metadata>"""


def test_the_index_names_its_files():
    found = parse_repomd(REPOMD)
    assert found.revision == 1700000000
    assert found.files == {"primary": "repodata/abc-primary.xml.gz", "group": "repodata/c.xml"}
    assert found.digests == {"primary": "abc", "group": ""}


def test_packages_are_listed():
    one, other = parse_primary(PRIMARY)
    assert (one.nevra, one.path, one.digest) == ("a-1-2.noarch", "Packages/a.rpm", "12")
    assert (other.nevra, other.arch, other.digest) == ("b-3:1-2.src", "src", "")


@pytest.mark.parametrize("text", [b"", b"<html>", b"not found"])
def test_what_is_no_metadata_is_refused(text):
    with pytest.raises(RepositoryUnavailable, match="is not XML"):
        parse_repomd(text)
    with pytest.raises(RepositoryUnavailable, match="is not XML"):
        list(parse_primary(text))


@pytest.mark.parametrize(
    ("name", "data"),
    [("p.xml", b"x"), ("p.xml.gz", gzip.compress(b"x")), ("p.xml.xz", lzma.compress(b"x"))],
)
def test_files_are_unpacked_by_their_names(name, data):
    assert unpack(name, data) == b"x"


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
def test_what_cannot_be_unpacked_is_told(suffix):
    with pytest.raises(RepositoryUnavailable, match=f"p.xml.{suffix} cannot be unpacked"):
        unpack(f"p.xml.{suffix}", b"something else")
