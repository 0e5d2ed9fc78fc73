"""Failures that are injected into the steps of a host, each once.

A program of the same name lies before the real one on the PATH that systemd gives to units. In
the named step, and where its words are the named ones, it fails once; everywhere else it is the
real one.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

FOLDER = "usr/local/sbin"


class Kind(Enum):
    """How a program ends the step that called it."""

    FAILS = 'echo "injected failure" >&2; exit 1'
    DIES = 'kill -KILL "$$"'
    KILLS = 'kill -KILL "$PPID"'
    """The step's shell dies at that moment; for programs that run as root."""


@dataclass(frozen=True)
class Fault:
    """One failure in a step."""

    step: str
    program: str
    words: str
    """A pattern of the shell that the program's arguments match."""
    kind: Kind


FAULTS = (
    Fault("10-host-name", "getent", "*", Kind.FAILS),
    Fault("12-firewall", "systemctl", "is-active *", Kind.KILLS),
    Fault("15-time", "systemctl", "enable *", Kind.FAILS),
    Fault("20-mariadb", "mariadb", "", Kind.KILLS),
    Fault("25-rabbitmq", "rabbitmqctl", "*set_permissions*", Kind.KILLS),
    Fault("30-memcached", "systemctl", "*start memcached*", Kind.FAILS),
    Fault("35-certificates", "openssl", "x509 *", Kind.KILLS),
    Fault("38-web", "systemctl", "*start httpd*", Kind.KILLS),
    Fault("40-keystone", "keystone-manage", "bootstrap *", Kind.KILLS),
    Fault("45-glance", "glance-manage", "db_sync", Kind.FAILS),
    Fault("50-placement", "systemctl", "*start openstack-placement-api*", Kind.KILLS),
    Fault("55-nova", "nova-manage", "*create_cell*", Kind.DIES),
    Fault("60-neutron", "neutron-db-manage", "*", Kind.FAILS),
    Fault("65-cinder", "chown", "*", Kind.KILLS),
    Fault("70-heat", "systemctl", "*start openstack-heat-engine*", Kind.FAILS),
    Fault("75-horizon", "bash", "*", Kind.FAILS),
    Fault("90-check", "openstack", "image list", Kind.KILLS),
)
"""One for each step of a controller: before, between and after what the step writes."""


def inject(root: Path, fault: Fault) -> None:
    """Let it happen in the next run of the steps below this root."""
    file = root / FOLDER / fault.program
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "#!/bin/bash\n"
        f'if [ "${{STEP:-}}" = {fault.step} ] && [[ $* == {pattern(fault.words)} ]]; then\n'
        f"    {fault.kind.value}\n"
        "fi\n"
        "here=$(PATH=/usr/sbin:/usr/bin type -P " + fault.program + ")\n"
        'exec "$here" "$@"\n'
    )
    file.chmod(0o755)


def remove(root: Path, fault: Fault) -> None:
    """Let the real program be found again."""
    (root / FOLDER / fault.program).unlink()


def pattern(words: str) -> str:
    """For `[[`, where blanks are quoted and stars are not."""
    return words.replace(" ", "\\ ") or '""'
