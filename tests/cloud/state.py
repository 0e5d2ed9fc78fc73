"""What a controller has become, in a form that two moments can be compared by."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.cloud.machine import Machine

UNIT = "rackseed-steps.service"
STEPS = "/usr/local/libexec/rackseed-steps"
LOG = "/var/log/rackseed-steps.log"

LIST_FILES = r"""
find /etc /root /var/lib/rackseed -path /etc/rackseed/secrets -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum
find /etc /root -printf '%p %y %U:%G %m %l\n' | sort
"""
HEARTBEAT = re.compile(r"INSERT INTO `(services?|agents|compute_nodes|ovn_hash_ring)` ")
"""Tables in which services say every few seconds that they are alive."""
ASK = """
import json
import openstack

cloud = openstack.connect()
print(json.dumps({
    "token": cloud.auth_token,
    "images": [each.name for each in cloud.image.images()],
    "resource classes": [each.name for each in cloud.placement.resource_classes()],
    "flavours": {each.name: each.extra_specs
                 for each in cloud.compute.flavors(get_extra_specs=True)},
    "services": {each.binary: each.state for each in cloud.compute.services()},
    "networks": [each.name for each in cloud.network.networks()],
    "volumes": [each.name for each in cloud.block_storage.volumes()],
    "stacks": [each.name for each in cloud.orchestration.stacks()],
}))
"""
"""One process: each command of the client takes seconds to begin."""


@dataclass(frozen=True)
class State:
    """A controller at one moment."""

    files: str
    """Digests, owners and modes below /etc and /root."""
    database: str
    queue: str
    processes: Mapping[str, str]
    """The main process of each running service."""


def look_at(machine: Machine) -> State:
    """The state now, without what services themselves write all the time."""
    dump = machine.run(
        *("mariadb-dump", "--all-databases", "--skip-extended-insert", "--skip-dump-date"),
        "--order-by-primary",
    )
    return State(
        files=files_of(machine),
        database="\n".join(line for line in dump.splitlines() if not HEARTBEAT.match(line)),
        queue=machine.run("rabbitmqctl", "--quiet", "list_users")
        + machine.run("rabbitmqctl", "--quiet", "list_permissions"),
        processes=processes_of(machine),
    )


def files_of(machine: Machine) -> str:
    """Digests, owners and modes of configuration."""
    return machine.run("bash", "-euc", LIST_FILES)


def processes_of(machine: Machine) -> Mapping[str, str]:
    """The main process of each running service."""
    words = ("--type=service", "--state=running", "--plain", "--no-legend")
    listed = machine.run("systemctl", "list-units", *words)
    units = [line.split()[0] for line in listed.splitlines()]
    numbers = machine.run("systemctl", "show", "--property=MainPID", "--value", *units).split()
    return dict(zip(units, numbers, strict=True))


def ask(machine: Machine, script: str = ASK) -> Mapping[str, Any]:
    """What the cloud answers to its administrator, who signs in as /root/openrc says."""
    answers: Mapping[str, Any] = json.loads(machine.run(*asking(script)))
    return answers


def try_ask(machine: Machine) -> Mapping[str, Any] | None:
    """The same, or None while not every service answers."""
    done = machine.try_run(*asking(ASK))
    return None if done.returncode else json.loads(done.stdout)


def asking(script: str) -> tuple[str, ...]:
    """A command that runs a script of openstacksdk."""
    client = "/usr/lib/openstack/client/bin/python3"
    return ("bash", "-c", f". /root/openrc; exec {client} -c '{script}'")


def done(machine: Machine) -> list[str]:
    """The steps that count as done."""
    folder = machine.root / "var/lib/rackseed/steps"
    return sorted(path.stem for path in folder.glob("*.done"))


def log(machine: Machine) -> str:
    """What the steps said."""
    return (machine.root / LOG.lstrip("/")).read_text()


def ended(machine: Machine) -> bool:
    """Whether the steps have run since the machine started."""
    shown = machine.run("systemctl", "show", "--property=ActiveState,ExecMainExitTimestamp", UNIT)
    words = dict(line.split("=", 1) for line in shown.splitlines())
    return words["ActiveState"] != "activating" and words["ExecMainExitTimestamp"] != ""


def holders(machine: Machine, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """The files that hold secrets, with the secrets' names."""
    folders = ("/etc", "/root", "/home", "/var", "/usr/local", "/tmp", "/run", "/srv", "/opt")
    values = "\n".join(secrets.values())
    search = ("grep", "-rFHo", "--binary-files=text", "--devices=skip", "-f", "-", *folders)
    found: dict[str, set[str]] = {}
    names = {value: name for name, value in secrets.items()}
    for line in machine.try_run(*search, text=values).stdout.splitlines():
        path, _, value = line.rpartition(":")
        found.setdefault(path, set()).add(names[value])
    return found


def restore_secrets(machine: Machine, secrets: Mapping[str, str]) -> None:
    """What an operator does before he lets every step run again."""
    path = machine.root / "etc/rackseed/secrets"
    path.touch(0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
