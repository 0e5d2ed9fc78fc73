"""Names that packages ask for, against recorded lists and against repository metadata."""

import bz2
import gzip
import hashlib
import http.server
import lzma
import threading
from functools import partial
from pathlib import Path

import pytest

from rpmspecs.capabilities import (
    Capabilities,
    FolderCache,
    find_primary,
    merged,
    parse_primary,
    read_repository,
    read_target,
    unpacked,
)
from rpmspecs.check import (
    Both,
    FromNames,
    FromRepositories,
    Kind,
    Need,
    Verdict,
    check,
    parse_needs,
    wanted,
)
from rpmspecs.errors import BadInput, RepositoryUnavailable
from rpmspecs.namelist import FOLDER, find_names, read_names
from rpmspecs.target import load_target, targets

LIST = """\
targets: [el-9]
recorded: "2026-11-21"
sources:
  tags: {what: the tags of the release, version: "1", date: "2026-07-14"}
names:
  chrony: {seen: [tags]}
  etcd: {verified: false, note: nobody looked}
renamed:
  openstack-nova-placement-api: openstack-placement-api
gone:
  openstack-nova-network: Neutron instead
"""

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<metadata xmlns="http://linux.duke.edu/metadata/common"'
    ' xmlns:rpm="http://linux.duke.edu/metadata/rpm">'
)

PRIMARY = f"""{HEAD}
<package type="rpm">
  <name>rdo-ovn-host</name><arch>noarch</arch>
  <format>
    <rpm:provides>
      <rpm:entry name="rdo-ovn-host" flags="EQ" epoch="1" ver="3.4" rel="1"/>
      <rpm:entry name="ovn-host"/>
    </rpm:provides>
    <rpm:requires><rpm:entry name="ovn24.09-host"/></rpm:requires>
    <rpm:obsoletes><rpm:entry name="ovn-host" flags="LT" ver="3.4"/></rpm:obsoletes>
    <rpm:recommends><rpm:entry name="something-else"/></rpm:recommends>
  </format>
</package>
<package type="rpm">
  <name>chrony</name><arch>x86_64</arch>
  <format><rpm:provides><rpm:entry name="chrony"/><rpm:entry name="timedaemon"/></rpm:provides>
  <file>/usr/sbin/chronyd</file></format>
</package>
</metadata>
"""


def need(text, kind=Kind.REQUIRES):
    return Need("openstack-node-full", kind, text)


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "el9.yaml"
    path.write_text(LIST)
    return FromNames(read_names(path))


@pytest.fixture
def repositories(recorded):
    found = parse_primary("primary.xml", [PRIMARY.encode()])
    return FromRepositories(found, "the repositories baseos", recorded.names)


@pytest.mark.parametrize(
    ("name", "verdict", "installs"),
    [
        ("chrony", Verdict.FOUND, True),
        ("etcd", Verdict.UNVERIFIED, True),
        ("openstack-nova-placement-api", Verdict.RENAMED, False),
        ("openstack-nova-network", Verdict.GONE, False),
        ("chronny", Verdict.ABSENT, False),
    ],
)
def test_a_recorded_list_tells_what_it_knows_of_a_name(recorded, name, verdict, installs):
    answer = recorded.ask(name)
    assert (answer.verdict, answer.installs) == (verdict, installs)


def test_the_new_name_of_a_renamed_package_is_told(recorded):
    answer = recorded.ask("openstack-nova-placement-api")
    assert answer.instead == "openstack-placement-api"
    assert "openstack-placement-api" in answer.how


def test_a_found_name_comes_with_where_it_was_seen(recorded):
    assert recorded.ask("chrony").how == "the tags of the release"


@pytest.mark.parametrize(
    ("name", "verdict", "installs"),
    [
        ("chrony", Verdict.FOUND, True),
        ("timedaemon", Verdict.FOUND, True),
        ("rdo-ovn-host", Verdict.FOUND, True),
        ("ovn-host", Verdict.RENAMED, True),
        ("ovn24.09-host", Verdict.ABSENT, False),
        ("something-else", Verdict.ABSENT, False),
        ("openstack-nova-network", Verdict.GONE, False),
        ("etcd", Verdict.ABSENT, False),
    ],
)
def test_metadata_tells_what_it_knows_of_a_name(repositories, name, verdict, installs):
    answer = repositories.ask(name)
    assert (answer.verdict, answer.installs) == (verdict, installs)


def test_an_old_name_that_still_installs_is_told_without_failing(repositories):
    (finding,) = check([need("ovn-host")], frozenset(), repositories)
    assert (finding.answer.instead, finding.fatal) == ("rdo-ovn-host", False)


def test_what_no_readable_repository_has_is_looked_up_in_the_list(repositories, recorded):
    both = Both(repositories, recorded)
    assert both.ask("etcd").verdict is Verdict.UNVERIFIED
    assert both.ask("chrony").how == "the repositories baseos"


@pytest.mark.parametrize(
    ("text", "kind", "fatal"),
    [
        ("chronny", Kind.REQUIRES, [True]),
        ("chronny >= 1:4", Kind.REQUIRES, [True]),
        ("chronny", Kind.RECOMMENDS, [False]),
        ("chronny", Kind.SUGGESTS, [False]),
        ("(chronny or chrony)", Kind.REQUIRES, [False]),
        ("(chronny or chromy)", Kind.REQUIRES, [True, True]),
        ("(chronny and chrony)", Kind.REQUIRES, [True]),
        ("(chrony if nonsense)", Kind.REQUIRES, []),
        ("(chronny if chrony)", Kind.REQUIRES, [True]),
        ("ours", Kind.REQUIRES, []),
        ("etcd", Kind.REQUIRES, [False]),
    ],
)
def test_what_is_missing_is_fatal_where_it_keeps_a_package_out(recorded, text, kind, fatal):
    findings = check([need(text, kind)], frozenset({"ours"}), recorded)
    assert [finding.fatal for finding in findings] == fatal


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("chrony", ["chrony"]),
        ("openstack-node-common = 2025.1.0-1", ["openstack-node-common"]),
        ("(a or b >= 2 or c)", ["a", "b", "c"]),
        ("(a if (b or c))", ["a"]),
        ("((a or b) if c)", ["a", "b"]),
        ("(a unless b)", ["a"]),
        ("/usr/bin/python3", []),
        ("config(x) = 1", []),
        ("rpmlib(RichDependencies)", []),
        ("libfoo.so.1()(64bit)", ["libfoo.so.1()(64bit)"]),
    ],
)
def test_a_dependency_wants_names(text, names):
    assert wanted(text) == names


def test_needs_and_provides_are_read_from_what_rpm_says():
    needs, own = parse_needs(
        "REQUIRES\tnode\tchrony\nREQUIRES\tnode\t/bin/sh\nSUGGESTS\tnode\tetcd\n"
        "REQUIRES\tnode\tchrony\nPROVIDES\tnode\tnode\n"
    )
    assert needs == [Need("node", Kind.REQUIRES, "chrony"), Need("node", Kind.SUGGESTS, "etcd")]
    assert own == {"node"}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seen: [tags]", "seen: [tag]", "chrony.seen: 'tag' is none of the sources"),
        ("{seen: [tags]}", "{}", "chrony.seen: missing, expected the sources"),
        ("{seen: [tags]}", "{seen: [tags], verified: false}", "what was seen is verified"),
        ('"2026-11-21"', '"yesterday"', "recorded: found 'yesterday', expected a date"),
        ("seen: [tags]", "scene: [tags]", "did you mean 'seen'"),
    ],
)
def test_a_mistake_in_a_list_is_told_with_its_line(tmp_path, old, new, sentence):
    path = tmp_path / "el9.yaml"
    path.write_text(LIST.replace(old, new, 1))
    with pytest.raises(BadInput, match=r"el9\.yaml:\d+: ") as error:
        read_names(path)
    assert sentence in str(error.value)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_lists_can_be_read_and_are_of_targets_that_exist(path):
    found = read_names(path)
    assert set(found.targets) <= set(targets())
    assert not set(found.names) & {*found.renamed, *found.gone}


def test_every_target_of_openstack_has_a_list():
    without = [name for name in targets() if find_names(load_target(name)) is None]
    assert without == ["centos-7"]


PACKED = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "xml": bytes}


@pytest.fixture
def repository(tmp_path):
    """Makes a repository in a folder, and its URL."""

    def make(name="primary.xml.gz", data=None, digest=None, href=None):
        folder = tmp_path / "repository" / "repodata"
        folder.mkdir(parents=True, exist_ok=True)
        suffix = name.rpartition(".")[2]
        packed = PACKED[suffix](PRIMARY.encode()) if data is None else data
        (folder / name).write_bytes(packed)
        digest = digest or hashlib.sha256(packed).hexdigest()
        (folder / "repomd.xml").write_text(
            '<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>'
            '<data type="filelists"><location href="repodata/other"/></data>'
            f'<data type="primary"><checksum type="sha256">{digest}</checksum>'
            f'<open-checksum type="sha256">{"0" * 64}</open-checksum>'
            f'<location href="{href or "repodata/" + name}"/></data></repomd>'
        )
        return folder.parent.as_uri()

    return make


@pytest.fixture
def cache(tmp_path):
    return FolderCache(tmp_path / "cache")


@pytest.mark.parametrize("suffix", PACKED)
def test_a_repository_is_read_however_it_is_packed(repository, cache, suffix):
    found = read_repository(repository(f"primary.{suffix}"), cache)
    assert found.packages == {"chrony", "rdo-ovn-host"}
    assert found.provided == {"chrony", "timedaemon", "rdo-ovn-host", "ovn-host"}
    assert found.obsoleted == {"ovn-host": "rdo-ovn-host"}


def test_zstd_is_unpacked_too(repository, cache):
    zstd = pytest.importorskip("backports.zstd", reason="in Python itself from 3.14 on")
    url = repository("primary.xml.zst.xml").replace("zst.xml", "zst")
    packed = zstd.compress(PRIMARY.encode())
    folder = Path(url.removeprefix("file://"), "repodata")
    (folder / "primary.xml.zst").write_bytes(packed)
    index = folder / "repomd.xml"
    index.write_text(
        index.read_text()
        .replace("primary.xml.zst.xml", "primary.xml.zst")
        .replace(hashlib.sha256(PRIMARY.encode()).hexdigest(), hashlib.sha256(packed).hexdigest())
    )
    assert "chrony" in read_repository(url, cache).packages


def test_what_was_read_is_kept_by_its_digest(repository, cache, tmp_path):
    url = repository()
    first = read_repository(url, cache)
    (tmp_path / "repository/repodata/primary.xml.gz").unlink()
    assert read_repository(url, cache) == first


def test_a_damaged_cache_is_read_anew(repository, cache):
    url = repository()
    first = read_repository(url, cache)
    for path in cache.folder.iterdir():
        path.write_bytes(b"nonsense")
    assert read_repository(url, cache) == first


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"digest": "0" * 64}, "its digest is not the one"),
        ({"digest": "0" * 63}, "names no primary metadata with a SHA-256"),
        ({"href": "../../etc/passwd"}, "is no path below the repository"),
        ({"href": "http://elsewhere.example.org/x"}, "is no path below the repository"),
        ({"href": "repodata/absent.xml"}, "absent.xml"),
        ({"data": b"\x1f\x8b nonsense"}, "cannot be unpacked"),
        ({"data": gzip.compress(PRIMARY.encode())[:-20]}, "cannot be unpacked"),
        ({"data": gzip.compress(b"<metadata>")}, "is not XML"),
        ({"data": gzip.compress(b'<!DOCTYPE x [<!ENTITY y "z">]><x/>')}, "has a document type"),
    ],
)
def test_a_broken_repository_is_told_in_one_sentence(repository, cache, change, sentence):
    with pytest.raises(RepositoryUnavailable) as error:
        read_repository(repository(**change), cache)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_metadata_that_unpacks_without_end_is_given_up(monkeypatch, repository, cache):
    monkeypatch.setattr("rpmspecs.capabilities.MAX_UNPACKED", 1 << 20)
    bomb = gzip.compress(HEAD.encode() + b" " * (4 << 20) + b"</metadata>")
    with pytest.raises(RepositoryUnavailable, match="larger than 1 MiB"):
        read_repository(repository(data=bomb), cache)


def test_an_index_without_end_is_given_up(repository, cache, tmp_path):
    url = repository()
    (tmp_path / "repository/repodata/repomd.xml").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(RepositoryUnavailable, match="larger than 1 MiB"):
        read_repository(url, cache)


def test_pieces_may_split_a_name_anywhere():
    text = PRIMARY.encode()
    whole = parse_primary("x", [text])
    assert parse_primary("x", [text[i : i + 7] for i in range(0, len(text), 7)]) == whole
    assert whole.packages == {"chrony", "rdo-ovn-host"}


def test_an_index_is_read_with_any_prefix():
    index = (
        '<r:repomd xmlns:r="http://linux.duke.edu/metadata/repo"><r:data type="primary">'
        f'<r:checksum type="sha256">\n {"A" * 64}\n</r:checksum>'
        '<r:location href="repodata/p.xml"/></r:data></r:repomd>'
    )
    assert find_primary("x", index.encode()).digest == "a" * 64


def test_a_server_that_refuses_is_told_beside_what_others_have(tmp_path, repository, cache):
    repository()
    handler = partial(_Silent, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        target = tmp_path / "fixture.yaml"
        target.write_text(
            "family: el\nrelease: '9'\ndist: .el9\nbuild_packages: [bash]\nrepositories:\n"
            f"  good: {{baseurl: '{base}/repository', gpgcheck: false}}\n"
            f"  bad: {{baseurl: '{base}/nothing/$releasever', gpgcheck: false}}\n"
        )
        found, failed = read_target(load_target(target), cache)
        server.shutdown()
    assert list(found) == ["good"]
    assert "chrony" in merged(found.values()).packages
    assert "/nothing/9/repodata/repomd.xml: the server says 404" in str(failed["bad"])


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_unpacked_file_is_taken_as_it_is(tmp_path):
    path = tmp_path / "primary.xml"
    path.write_bytes(b"<x/>")
    with path.open("rb") as file:
        assert b"".join(unpacked("primary.xml", file)) == b"<x/>"


def test_repositories_are_merged():
    one = Capabilities(frozenset({"a"}), frozenset({"a", "b"}), {"old": "a"})
    two = Capabilities(frozenset({"c"}), frozenset({"c"}), {})
    both = merged([one, two])
    assert (both.packages, both.provided) == ({"a", "c"}, {"a", "b", "c"})
    assert both.obsoleted == {"old": "a"}
