"""Files of configuration in the hands of oslo-config-validator, with each service's own options."""

from collections.abc import Mapping

from tests.cloud.machine import Machine

COMMON = (
    "oslo.middleware oslo.log oslo.messaging oslo.db oslo.concurrency keystonemiddleware.auth_token"
)
FILES: Mapping[str, tuple[str, str]] = {
    "/etc/keystone/keystone.conf": ("keystone", "keystone oslo.cache oslo.middleware"),
    "/etc/glance/glance-api.conf": ("glance", "glance.api glance.store glance.multi_store"),
    "/etc/placement/placement.conf": ("placement", "placement.conf"),
    "/etc/nova/nova.conf": ("nova", "nova.conf oslo.service.service oslo.cache os_vif"),
    "/etc/neutron/neutron.conf": ("neutron", "neutron neutron.db nova.auth oslo.service.service"),
    "/etc/neutron/plugins/ml2/ml2_conf.ini": ("neutron", "neutron.ml2 neutron.ml2.ovn"),
    "/etc/neutron/plugins/ml2/ovn_agent.ini": (
        "neutron",
        # The extensions of agents are listed with those of Open vSwitch's alone.
        "neutron.ml2.ovn neutron.ml2.ovn.agent neutron.ml2.ovs.agent neutron.ovn.metadata.agent",
    ),
    "/etc/cinder/cinder.conf": ("cinder", "cinder"),
    "/etc/heat/heat.conf": (
        "heat",
        "heat.api.aws.ec2token heat.common.config heat.common.context heat.engine.clients",
    ),
}
"""The service of each file, and the namespaces of its options beside the common ones."""
KNOWN = frozenset(
    f"ERROR:root:{option} is not part of the sample config"
    for option in (
        # The section of a store is named by the operator, so nobody can list its options.
        "files/filesystem_store_datadir",
        # Those of signing in by password, which Cinder reads (cinder/compute/nova.py), not lists.
        *(
            f"nova/{name}"
            for name in ("auth_url", "password", "project_domain_name", "project_name",
                         "user_domain_name", "username")
        ),
    )
)  # fmt: skip
"""What it says of options that there are."""


def complaints(machine: Machine, path: str) -> list[str]:
    """What the validator has to say about a file, in one line each."""
    service, names = FILES[path]
    python = f"/usr/lib/openstack/{service}/bin/python3"
    carried = machine.run(python, "-c", NAMESPACES).split()
    assert set(names.split()) <= set(carried), f"{service} has no such namespace"
    words = [f"--input-file={path}"]
    words += [f"--namespace={name}" for name in f"{names} {COMMON}".split() if name in carried]
    said = machine.try_run(python, "-W", "ignore", "-m", "oslo_config.validator", *words)
    errors = [line for line in said.stderr.splitlines() if line.startswith("ERROR:root")]
    assert said.returncode == (1 if errors else 0), said.stderr
    return [line for line in errors if line not in KNOWN]


NAMESPACES = """
from importlib.metadata import entry_points
print(*(each.name for each in entry_points(group="oslo.config.opts")))
"""
