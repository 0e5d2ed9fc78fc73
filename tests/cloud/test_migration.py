"""Guests move between hosts that hold the same secret, and between no others.

libvirt, QEMU and SSH are real, the guest has no system. libvirt is Debian's, one daemon for all;
where each kind of thing has its own, another proxy opens the same port by the same files.
"""

from collections.abc import Iterator

import pytest

from tests.cloud.hypervisors import GUEST, Hypervisors, run_steps
from tests.cloud.machine import Machine
from tests.lab import Lab
from tests.tools import require_root

SECRET, ANOTHER = "correct-horse-battery", "staple-correct-horse"
HERE, THERE = 11, 12
URIS = {
    "tls": "qemu+tls://10.9.1.12/system",
    "ssh": "qemu+ssh://nova@10.9.1.12/system?keyfile=/var/lib/nova/.ssh/id_ecdsa",
}
"""What Nova makes of its options (nova/virt/libvirt/driver.py, live_migration)."""


@pytest.fixture(scope="module", params=sorted(URIS))
def hosts(request, tmp_path_factory) -> Iterator[tuple[str, Machine, Machine]]:
    """How guests move, and two hosts that hold the same secret."""
    require_root()
    with Lab() as lab:
        segment = Hypervisors(lab, tmp_path_factory.mktemp("hypervisors"))
        machines = []
        try:
            for name, number in (("cmp01", HERE), ("cmp02", THERE)):
                machines.append(segment.start(name, number, [("migration", request.param)]))
                run_steps(machines[-1], SECRET)
            yield request.param, *machines
        finally:
            for machine in machines:
                machine.close()


def test_a_running_guest_moves_to_another_host(hosts):
    way, here, there = hosts
    here.run("sh", "-c", "cat >/tmp/guest.xml && virsh create /tmp/guest.xml", text=GUEST)
    words = ["virsh", "migrate", "--live", "--p2p", "--postcopy", "guest", URIS[way]]
    words += ["--migrateuri", f"tcp://10.9.1.{THERE}", *(["--tls"] if way == "tls" else [])]
    here.run(*words)
    assert there.run("virsh", "list", "--name").split() == ["guest"]
    assert here.run("virsh", "list", "--name").split() == []
    there.run("virsh", "destroy", "guest")


def test_a_second_run_changes_nothing(hosts):
    _, here, _ = hosts
    look = ("sh", "-c", "find /etc /var/lib/nova -type f -exec sha256sum {} + | sort")
    before = here.run(*look)
    assert "writing" not in run_steps(here, SECRET).rpartition("30-libvirt begins")[2]
    assert here.run(*look) == before


def test_certificates_that_end_soon_are_made_anew(hosts):
    way, here, _ = hosts
    authority = here.root / "etc/pki/CA/cacert.pem"
    if way == "ssh":
        assert not authority.exists()
        return
    step = here.root / "opt/usr/local/lib/rackseed/steps/28-trust"
    text = step.read_text()
    step.write_text(text.replace("-days 3650", "-days 10"))
    authority.unlink()
    run_steps(here, SECRET)
    step.write_text(text)
    run_steps(here, SECRET)
    for name in ("CA/cacert.pem", "libvirt/servercert.pem", "qemu/client-cert.pem"):
        words = ("-noout", "-checkend", str(3600 * 24 * 60 * 60))
        here.run("openssl", "x509", "-in", f"/etc/pki/{name}", *words)
    here.run("virsh", "--connect", URIS[way], "list")


def test_a_way_that_is_not_chosen_any_more_is_closed(hosts):
    _, here, _ = hosts
    here.run("systemctl", "stop", "libvirtd.service")
    here.run("systemctl", "enable", "--now", "libvirtd-tcp.socket")
    run_steps(here, SECRET)
    for state in ("is-active", "is-enabled"):
        assert here.try_run("systemctl", state, "libvirtd-tcp.socket").returncode != 0
    assert "guest" not in here.run("virsh", "list", "--name")  # libvirt answers


def test_a_host_with_another_secret_is_let_in_by_nobody_and_believed_by_nobody(hosts):
    way, here, there = hosts
    ask = ("virsh", "--connect", URIS[way], "list")
    here.run(*ask)
    run_steps(here, ANOTHER)
    refused = here.try_run(*ask)
    assert refused.returncode != 0
    words = "certificate" if way == "tls" else "Host key verification failed"
    assert words in refused.stderr
    # And the other way round.
    back = there.try_run(*(word.replace(f".{THERE}/", f".{HERE}/") for word in ask))
    assert back.returncode != 0


def test_a_host_without_any_certificate_is_refused(hosts):
    way, here, _ = hosts
    here.run("rm", "-rf", "/etc/pki", "/var/lib/nova/.ssh")
    uri = URIS[way] + ("&" if "?" in URIS[way] else "?") + "no_verify=1"
    refused = here.try_run("virsh", "--connect", uri, "list")
    assert refused.returncode != 0
