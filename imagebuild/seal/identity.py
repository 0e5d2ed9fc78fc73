"""Rows: what makes a machine this machine."""

from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, Hollow, Lines
from imagebuild.seal.special import DbusMachineId, Hostname, MachineId

ROWS = (
    Row(
        "ssh-host-keys",
        Severity.SECRET,
        "SSH host keys",
        "Whoever has the image can pose as each machine made from it; keys are made at first boot.",
        "sshd(8), FILES; virt-sysprep(1) ssh-hostkeys",
        (Absent("etc/ssh/*_host_*", "etc/dropbear/dropbear_*_host_key", "etc/tinyssh/sshkeydir"),),
    ),
    Row(
        "machine-id",
        Severity.IDENTITY,
        "the machine id of systemd",
        "DHCP leases, journals and clusters take two machines with one id for the same.",
        "machine-id(5), First Boot Semantics; systemd 247 NEWS",
        (MachineId(),),
    ),
    Row(
        "dbus-machine-id",
        Severity.IDENTITY,
        "D-Bus's copy of the machine id",
        "A copy differs from the new machine id, or brings the old one back.",
        "dbus-uuidgen(1); machine-id(5)",
        (DbusMachineId(),),
    ),
    Row(
        "random-seed",
        Severity.SECRET,
        "saved seeds of the random number generator",
        "Machines that start from one seed make related keys.",
        "systemd-random-seed.service(8); systemd.io/BUILDING_IMAGES",
        (
            Absent(
                "var/lib/systemd/random-seed",
                "var/lib/random-seed",
                "var/lib/misc/random-seed",
                "var/lib/urandom/random-seed",
                "boot/loader/random-seed",
                "boot/efi/loader/random-seed",
                "efi/loader/random-seed",
            ),
        ),
    ),
    Row(
        "credential-secret",
        Severity.SECRET,
        "the host key of systemd's credentials",
        "Credentials encrypted on one machine open on all.",
        "systemd-creds(1); systemd.io/BUILDING_IMAGES",
        (
            Absent("var/lib/systemd/credential.secret"),
            Hollow("etc/credstore", "etc/credstore.encrypted"),
        ),
    ),
    Row(
        "hostname",
        Severity.IDENTITY,
        "a host's name",
        "Bootstrapping copies the builder's name; a machine without data source keeps it.",
        "hostname(5); virt-sysprep(1) net-hostname",
        (
            Hostname(),
            Absent("etc/mailname"),
            Lines(("etc/hosts",), r"^127\.0\.1\.1[[:space:]]"),
            Lines(("etc/machine-info",), r"^PRETTY_HOSTNAME="),
            Lines(("etc/sysconfig/network",), r"^(HOSTNAME|DHCP_HOSTNAME)="),
            Lines(("etc/sysconfig/network-scripts/ifcfg-*",), r"^(HOSTNAME|DHCP_HOSTNAME)="),
        ),
    ),
    Row(
        "cloud-init-state",
        Severity.IDENTITY,
        "what cloud-init remembers of an instance",
        "It keeps cloud-init from taking the first boot for one, and holds user data.",
        "cloud-init clean; docs.cloud-init.io, Boot stages",
        (
            Absent(
                "var/lib/cloud/instance",
                "var/lib/cloud/instances/*",
                "var/lib/cloud/data/*",
                "var/lib/cloud/sem/*",
                "var/lib/cloud/handlers/*",
                "run/cloud-init",
                "etc/cloud/cloud-init.disabled",
            ),
        ),
    ),
    Row(
        "subscription-ids",
        Severity.SECRET,
        "subscriptions and their certificates",
        "Every machine would speak with the builder's identity at the vendor.",
        "subscription-manager(8) clean; virt-sysprep(1) rh-subscription-manager, rhn-systemid",
        (
            Absent(
                "etc/pki/consumer/*",
                "etc/pki/entitlement/*",
                "etc/sysconfig/rhn/systemid*",
                "etc/sysconfig/rhn/osad-auth.conf",
                "var/lib/rhsm/facts/*",
                "var/lib/rhsm/cache/*",
                "var/lib/ubuntu-advantage/private/*",
                "var/lib/ubuntu-advantage/machine-token.json",
            ),
        ),
    ),
    Row(
        "repository-ids",
        Severity.IDENTITY,
        "ids by which package managers count machines",
        "Mirrors count all machines as one.",
        "dnf.conf(5) countme; virt-sysprep(1) yum-uuid, smolt-uuid",
        (
            Absent(
                "var/lib/yum/uuid",
                "var/lib/dnf/repos/*/countme",
                "var/lib/libdnf5/repos/*/countme",
                "etc/sysconfig/hw-uuid",
                "etc/smolt/uuid",
                "etc/smolt/hw-uuid",
            ),
            Lines(("etc/popularity-contest.conf",), r"^MY_HOSTID="),
        ),
    ),
    Row(
        "agent-ids",
        Severity.SECRET,
        "keys and ids of configuration agents",
        "The second machine with a key is refused, or takes the first one's place.",
        "virt-sysprep(1) puppet-data-log, ipa-client; Salt, Chef and Puppet: preseeding keys",
        (
            Absent(
                "etc/salt/minion_id",
                "etc/salt/pki/minion/*",
                "etc/chef/client.pem",
                "etc/ipa/default.conf",
                "var/lib/ipa-client/sysrestore/*",
                "var/lib/ipa-client/pki/*",
                "usr/local/share/ca-certificates/ipa-ca.crt",
                "etc/pki/ca-trust/source/ipa.p11-kit",
            ),
            Hollow(
                "var/lib/puppet",
                "var/log/puppet",
                "etc/puppetlabs/puppet/ssl",
                "opt/puppetlabs/puppet/cache",
            ),
        ),
    ),
    Row(
        "engine-ids",
        Severity.IDENTITY,
        "ids of container engines and virtual switches",
        "Swarms and controllers know a machine by them.",
        "docker info (ID); ovs-ctl(8) --system-id=random",
        (
            Absent(
                "etc/docker/key.json",
                "var/lib/docker/engine-id",
                "etc/openvswitch/system-id.conf",
                "etc/openvswitch/conf.db",
                "var/lib/openvswitch/conf.db",
            ),
        ),
    ),
)
