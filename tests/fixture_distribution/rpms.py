"""The RPMs of a cut tree, made by one rpmbuild from one spec."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.fixture_distribution.cut import Rpm
from tests.fixture_distribution.names import ACCOUNTS

MACROS = {
    "_dbpath": "%{_topdir}/db",
    "_rpmdir": "%{_topdir}/made",
    "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    "_fileattrsdir": "%{_topdir}/attrs",
    "_binary_payload": "w3.zstdio",
    "_buildhost": "fixture",
    "_vendor": "fixture",
    "_build_id_links": "none",
    "_unpackaged_files_terminate_build": "0",
    "_invalid_encoding_terminates_build": "0",
    "__check_files": "%{nil}",
    "__os_install_post": "%{nil}",
    "__spec_install_pre": "%{nil}",
    "__spec_clean_body": "%{nil}",
    "debug_package": "%{nil}",
    "clamp_mtime_to_source_date_epoch": "1",
    "use_source_date_epoch_as_buildtime": "1",
}
"""Nothing of the host's habits, and nothing that differs between two runs."""

ELF = r"""
%__elf_provides /usr/lib/rpm/elfdeps --provides
%__elf_magic ^(setuid,? )?(setgid,? )?(sticky )?ELF (32|64)-bit.*$
"""
"""The one thing that rpm is to find out by itself: the names of shared libraries."""

HEAD = """\
Name: fixture-distribution
Version: 1
Release: 1{dist}
Summary: fixture: a Debian tree cut into packages
License: Various
%description
Made for tests.
"""


def build(root: Path, rpms: Mapping[str, Rpm], dist: str, epoch: int, work: Path) -> list[Path]:
    """The packages in `work`, from the files at `root`. `epoch`: no file is newer, in seconds."""
    (work / "attrs").mkdir(parents=True)
    (work / "attrs/elf.attr").write_text(ELF, encoding="utf-8")
    spec = work / "fixture-distribution.spec"
    sections = [HEAD.format(dist=dist)]
    for rpm in sorted(rpms.values(), key=lambda rpm: rpm.name):
        listing = work / f"{rpm.name}.files"
        listing.write_text("".join(f"{line}\n" for line in _listing(rpm)), encoding="utf-8")
        sections.append(_section(rpm, listing))
    spec.write_text("\n".join(sections), encoding="utf-8")
    argv = ["rpmbuild", "-bb", "--quiet", f"--buildroot={root}"]
    for name, value in {"_topdir": str(work), **MACROS}.items():
        argv += ["--define", f"{name} {value}"]
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([*argv, str(spec)], env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "warning:" not in line]
        raise RuntimeError("\n".join(["rpmbuild failed:", *errors[-40:]]))
    made = sorted((work / "made").iterdir())
    for path in made:
        os.utime(path, (epoch, epoch))
    return made


def _section(rpm: Rpm, listing: Path) -> str:
    lines = [
        f"%package -n {rpm.name}",
        f"Version: {rpm.version}",
        f"Release: {rpm.release}",
        f"Summary: {rpm.summary}",
        "AutoReq: no",
        f"AutoProv: {'yes' if rpm.files else 'no'}",
    ]
    if rpm.name != "filesystem":
        lines += [f"Requires(pre): {name}" for name in sorted({"filesystem", *rpm.requires_pre})]
    lines += [f"Provides: {name}" for name in sorted(rpm.provides)]
    lines += [f"Requires: {name}" for name in sorted(rpm.requires)]
    lines += [f"%description -n {rpm.name}", f"{rpm.summary}."]
    for section, text in sorted(rpm.scripts.items()):
        lines += [f"%{section} -n {rpm.name}", text]
    listed = f" -f {listing}" if rpm.files or rpm.folders else ""
    lines += [f"%files -n {rpm.name}{listed}", ""]
    return "\n".join(lines)


def _listing(rpm: Rpm) -> list[str]:
    lines = []
    for path in sorted(rpm.folders | rpm.files):
        user, group = rpm.owners.get(path, ("root", "root"))
        kind = "%dir " if path in rpm.folders else ""
        config = "%config(noreplace) " if path in rpm.configs else ""
        grows = "%verify(not md5 size mtime) " if path in ACCOUNTS else ""
        lines.append(f"%attr(-, {user}, {group}) {kind}{config}{grows}{_quoted(path)}")
    return lines


def _quoted(path: str) -> str:
    """As rpm's file lists want it: no pattern, no macro."""
    if re.search(r"[*?{]|\[.*\]", path):
        path = re.sub(r"([\[\]*?{}\\])", r"\\\1", path)
    return '"' + path.replace("%", "%%") + '"'
