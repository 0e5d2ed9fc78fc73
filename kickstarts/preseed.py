"""From a plan to the answers of the Debian installer, which Ubuntu had too up to 20.04."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import urlsplit

from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.networkd import network_files
from kickstarts.plan import Firmware, InstallPlan
from kickstarts.templating import environment
from kickstarts.values import MASK, Secret

HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class System:
    """One release that the Debian installer installs."""

    name: str
    title: str
    suite: str
    """As the mirror calls it."""
    ubuntu: bool = False
    has_yescrypt: bool = True
    has_sshd_folder: bool = True
    """/etc/ssh/sshd_config.d is read."""
    has_permanent_mac: bool = True
    """networkd knows ports by the MAC address that they keep within a bond (systemd 244)."""


SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        System("debian-12", "Debian 12", "bookworm"),
        System("debian-13", "Debian 13", "trixie"),
        # The last ones with this installer; 20.04 has it as "legacy" images.
        System(
            "ubuntu-18.04", "Ubuntu 18.04", "bionic", ubuntu=True,
            has_yescrypt=False, has_sshd_folder=False, has_permanent_mac=False,
        ),
        System("ubuntu-20.04", "Ubuntu 20.04", "focal", ubuntu=True),
    )
}  # fmt: skip
"""By name, as an inventory calls them."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where packages come from, in the installer's parts."""

    protocol: str
    host: str
    folder: str
    security: str
    """The folder of security updates."""


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """The report URL in the parts that a shell without a web client needs."""

    host: str
    """As the header wants it, with the port."""
    address: str
    port: int
    path: str


def render(plan: InstallPlan, *, masked: bool = False) -> str:
    """The preseed file of one host; `masked` for the eyes of people, with no secret in it.

    Raises BadValue, UnknownSystem.
    """
    kind = system(plan.system)
    check_fit(plan, kind)
    values = _values(plan, kind, masked=masked)
    made = environment()
    parts = dict[str, str]()
    # The last one stands within the late command.
    for name in ("finish", "early", "partition", "late"):
        parts[name] = made.get_template(f"preseed/{name}.sh.j2").render(values, **parts)
    return made.get_template("preseed.cfg.j2").render(values, **parts)


def system(name: str) -> System:
    """One of the systems.

    Raises UnknownSystem.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    error = UnknownSystem(f"no preseed is known for '{name}', expected {', '.join(SYSTEMS)}")
    if near := get_close_matches(name, SYSTEMS, 1):
        error.add_note(f"did you mean '{near[0]}'?")
    raise error


def check_fit(plan: InstallPlan, kind: System) -> None:
    """What the installer can do covers what the plan asks.

    Raises BadValue.
    """
    check_packages(plan, kind.title)
    if not plan.report_url.reveal().startswith("http://"):
        raise BadValue("report_url", "an http URL: this installer's shell knows no TLS")
    hashes = (plan.root_password, *(user.password for user in plan.administrators))
    if not kind.has_yescrypt and any(h and h.reveal().startswith("$y$") for h in hashes):
        raise BadValue("password", f"a SHA-512 hash ($6$) on {kind.title}, which has no yescrypt")


def check_packages(plan: InstallPlan, title: str) -> None:
    """What is asked to be installed exists for systems with .deb packages.

    Raises BadValue.
    """
    if plan.role.metapackage is not None:
        raise BadValue("role", f"a plain host on {title}: the roles' packages are RPMs")
    if plan.packages.ours is not None:
        raise BadValue("packages.ours", f"nothing on {title}: our own packages are RPMs")
    for each in plan.packages.repositories:
        if each.url is None or not each.url.endswith("/"):
            raise BadValue(f"repository {each.name}", "a URL with a slash at its end")
    if bad := next((each for each in plan.packages.more if each.startswith(("@", "^"))), None):
        raise BadValue("packages.more", f"a package, not the group {bad}")


def _values(plan: InstallPlan, kind: System, *, masked: bool) -> Mapping[str, object]:
    chosen = plan.role.time_servers
    more = (*plan.packages.more, *(("mdadm",) if plan.disks.count > 1 else ()))
    files = _files(plan, kind)
    return {
        "plan": plan,
        "system": kind,
        "disks": plan.disks,
        "uefi": plan.firmware is Firmware.UEFI,
        "volume_group": plan.host.replace("-", "_"),
        "time_servers": plan.time_servers if chosen is None else chosen,
        "mirror": _mirror(plan.packages.tree, kind),
        "packages": ("openssh-server", "sudo", "chrony", "curl", *more),
        "files": files,
        "folders": sorted({f"/target{path.rpartition('/')[0]}" for path in files}),
        "report": report_address(plan.report_url, masked=masked),
        "reveal": _mask if masked else Secret.reveal,
    }


def _files(plan: InstallPlan, kind: System) -> Mapping[str, str]:
    """What is written on the installed system, by path; no line has a single quote."""
    network = plan.network
    names = f"{network.address.ip} {plan.full_name}"
    if plan.domain:
        names += f" {plan.host}"
    files = {
        "/etc/hostname": f"{plan.host}\n",
        # The name resolves without any server.
        "/etc/hosts": f"127.0.0.1 localhost\n{names}\n::1 localhost ip6-localhost ip6-loopback\n",
        **network_files(network, plan.domain, permanent_mac=kind.has_permanent_mac),
    }
    if network.dns and not kind.ubuntu:
        # Debian has no systemd-resolved unless it is asked for.
        search = f"search {plan.domain}\n" if plan.domain else ""
        files["/etc/resolv.conf"] = search + "".join(f"nameserver {a}\n" for a in network.dns)
    for user in plan.administrators:
        if user.password is None:
            # There is no password that sudo could ask for.
            files[f"/etc/sudoers.d/{user.name}"] = f"{user.name} ALL=(ALL) NOPASSWD: ALL\n"
    if kind.has_sshd_folder and all(user.password is None for user in plan.administrators):
        # Everybody has a key, so a password is only somebody's guess.
        files["/etc/ssh/sshd_config.d/10-keys-only.conf"] = "PasswordAuthentication no\n"
    return files


def _mirror(tree: str | None, kind: System) -> Mirror | None:
    """None: the installer's own choice."""
    if tree is None:
        return None
    parts = urlsplit(tree)
    folder = parts.path.rstrip("/") or "/"
    # Ubuntu has them in the same archive; a mirror of Debian has them beside it.
    security = folder if kind.ubuntu else f"{folder.rpartition('/')[0]}/debian-security"
    return Mirror(parts.scheme, parts.netloc, folder, security)


def report_address(url: Secret, *, masked: bool) -> ReportAddress:
    """The parts of the report URL; `masked` without its token."""
    parts = urlsplit(url.reveal())
    path = MASK if masked else parts.path
    return ReportAddress(parts.netloc, parts.hostname or "", parts.port or HTTP_PORT, path)


def _mask(_: Secret) -> str:
    return MASK
