"""What virt-sysprep removes, we remove too, or say why not."""

from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest

from imagebuild.seal.leftovers import _BUILDER_TOOLS
from imagebuild.seal.table import TABLE
from tests.sealing import seal, verified
from tests.sysprep import LEFT, REMOVED
from tests.unsealed import CLEAN, make, snapshot
from tests.unsealed_lines import LINES

ROWS = {row.name for row in TABLE}

COVERED = {
    "abrt-data": "crash-dumps",
    "backup-files": "editor-backups",
    "bash-history": "histories",
    "blkid-tab": "blkid-cache",
    "ca-certificates": "tls-keys",
    "crash-data": "crash-dumps",
    "cron-spool": "job-spools",
    "dhcp-client-state": "dhcp-leases",
    "dhcp-server-state": "dhcp-leases",
    "dovecot-data": "mail-server-data",
    "ipa-client": "agent-ids",
    "kerberos-data": "kerberos",
    "kerberos-hostkeytab": "kerberos",
    "logfiles": "logs",
    "lvm-system-devices": "lvm-devices",
    "machine-id": "machine-id",
    "mail-spool": "mail-spools",
    "net-hostname": "hostname",
    "net-hwaddr": "ifcfg-addresses",
    "net-nmconn": "networkmanager-state",
    "pacct-log": "logs",
    "package-manager-cache": "package-caches",
    "pam-data": "login-records",
    "passwd-backups": "account-backups",
    "puppet-data-log": "agent-ids",
    "rh-subscription-manager": "subscription-ids",
    "rhn-systemid": "subscription-ids",
    "rpm-db": "rpm-db-regions",
    "samba-db-log": "samba",
    "smolt-uuid": "repository-ids",
    "ssh-hostkeys": "ssh-host-keys",
    "ssh-userdir": "ssh-user-keys",
    "sssd-db-log": "sssd",
    "tmp-files": "temporary-files",
    "udev-persistent-net": "udev-net-rules",
    "utmp": "login-records",
    "yum-uuid": "repository-ids",
    "zsh-history": "histories",
}
"""Its operation, our row. The list is that of guestfs-tools 1.56 (August 2026)."""

NOT_OURS = {
    "customize": "changes an image; a recipe does that",
    "script": "runs what somebody gives it; an element does that",
    "firewall-rules": "the recipe's own rules protect the machine; off in virt-sysprep too",
    "flag-reconfiguration": "asks on the console at first boot; a cloud image must not",
    "fs-uuids": "fstab and boot loader name them; off in virt-sysprep too, see `file-systems`",
    "lvm-uuids": "an image that we cannot look into is not sealed, and LVM is such",
    "user-account": "the recipe says who is in the image; passwords and keys are looked for",
}


@pytest.mark.parametrize(("operation", "row"), COVERED.items())
def test_an_operation_of_virt_sysprep_has_its_row(operation, row):
    assert row in ROWS
    assert row in operation or any(operation in r.source for r in TABLE if r.name == row)


def planted() -> dict[str, str]:
    """A file for every path that it removes."""
    paths = [path.replace("*", "x") for paths in REMOVED.values() for path in paths]
    return {path.replace("dev/./", "dev/."): "x" for path in paths}


def with_parents(path: str) -> list[str]:
    """A path and the folders that it is in."""
    return [path, *map(str, Path(path).parents)]


def test_what_virt_sysprep_removes_is_found_and_removed_or_has_a_reason(tmp_path):
    root = make(tmp_path / "root", {**CLEAN, **planted()})
    found = {finding.path for finding in verified(root).findings}
    assert {path for path in planted() if not found & set(with_parents(path))} == set(LEFT)
    seal(root)
    assert verified(root).findings == ()
    content = snapshot(root)
    stay = {path for path in planted() if content.get(path) not in (None, "", "GenerateName=yes\n")}
    assert stay == {*LEFT, "var/lib/dbus/machine-id"}, "that is a link now"


def test_every_operation_of_which_paths_are_known_is_covered():
    assert set(REMOVED) <= {*COVERED, "random-seed"}
    by_lines = {one.row for one in LINES}
    for operation, row in COVERED.items():
        assert operation in REMOVED or row in by_lines | {"histories", "lvm-devices"}, operation


def test_every_operation_is_covered_or_has_a_reason():
    assert not set(COVERED) & set(NOT_OURS)
    assert len(COVERED) + len(NOT_OURS) == 45  # `virt-sysprep --list-operations | wc -l`


def test_every_tool_that_diskimage_builder_copies_into_images_is_removed():
    elements = Path(str(files("diskimage_builder"))) / "elements"
    tools = {tool.name for tool in elements.glob("*/bin/*") if tool.is_file()}
    assert len(tools) > 10
    assert [t for t in sorted(tools) if not any(fnmatch(t, one) for one in _BUILDER_TOOLS)] == []
