"""From a plan to the answers of XCP-ng's and XenServer's installer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from xml.etree import ElementTree as Xml

from kickstarts.errors import BadValue, UnknownSystem
from kickstarts.plan import InstallPlan, Layout
from kickstarts.preseed import report_address
from kickstarts.templating import environment
from kickstarts.validate import WHOLE, Finding
from kickstarts.values import MASK

STORAGE = "ext"
"""The local storage repository: guests' disks are files, which take the room that they use."""
FOLDER = "/tmp/rackseed"
"""In the installer's memory; the scripts of the stages lie there."""
BEGIN, END = "<<'END-OF-ANSWER'", "END-OF-ANSWER"
"""Around the answer file, in the script."""
STAGES = ("filesystem-populated", "installation-complete")

ELEMENTS: Mapping[str, frozenset[str]] = {
    name: frozenset(attributes)
    for name, *attributes in (
        ("installation", "mode", "srtype", "sr-type"),
        ("primary-disk", "guest-storage", "sr-at-end", "preserve-first-partition", "swraid"),
        ("guest-disks",),
        ("guest-disk",),
        ("source", "type"),
        ("driver-source", "type"),
        ("admin-interface", "name", "hwaddr", "proto", "protov6", "vlan"),
        ("ipaddr",),
        ("subnet",),
        ("gateway",),
        ("root-password", "type"),
        ("name-server",),
        ("hostname",),
        ("timezone",),
        ("ntp", "source"),
        ("ntp-server",),
        ("keymap",),
        ("bootloader", "location", "write-boot-entry"),
        ("network-backend",),
        ("script", "stage", "type"),
        ("ui-confirmation-prompt",),
    )
}
"""What an answer file may hold, with attributes; from the installer's own document."""
NEEDED = ("primary-disk", "source", "admin-interface", "root-password")


@dataclass(frozen=True, slots=True)
class System:
    """One release."""

    name: str
    title: str


SYSTEMS: Mapping[str, System] = {
    system.name: system
    for system in (
        System("xcp-ng-8.2", "XCP-ng 8.2"),
        System("xcp-ng-8.3", "XCP-ng 8.3"),
        System("xenserver-8", "XenServer 8"),
    )
}
"""By name, as an inventory calls them."""


def render(plan: InstallPlan, *, masked: bool = False) -> str:
    """What the installer's `answerfile_generator=` fetches: one script with all that it needs.

    An answer file alone names its disk by a path and its scripts by URLs; the script finds the
    disk by what the plan says of it. `masked` for the eyes of people, with no secret in it.

    Raises BadValue, UnknownSystem.
    """
    kind = system(plan.system)
    check_fit(plan, kind)
    tokens = [f"@rackseed-disk-{number}@" for number in range(1, plan.disks.count + 1)]
    scripts = {stage: f"file://{FOLDER}/{stage}" for stage in STAGES}
    values = {
        "plan": plan,
        "system": kind,
        "disks": plan.disks,
        "disk_tokens": tokens,
        "folder": FOLDER,
        "keys": [key for user in plan.administrators for key in user.keys],
        "report": report_address(plan.report_url, masked=masked),
        "answer": answer(plan, tokens, scripts, masked=masked),
    }
    return environment().get_template("xcpng/generator.sh.j2").render(values)


def answer(
    plan: InstallPlan, disks: Sequence[str], scripts: Mapping[str, str], *, masked: bool = False
) -> str:
    """The answer file: `disks` by their paths, `scripts` as URLs by stage.

    Raises BadValue, UnknownSystem.
    """
    kind = system(plan.system)
    check_fit(plan, kind)
    top = Xml.Element("installation", {"mode": "fresh", "srtype": STORAGE})
    top.append(Xml.Comment(f" {plan.full_name}: {plan.role.purpose} on {kind.title} "))
    disk = _add(top, "primary-disk", ",".join(disks), {"guest-storage": "true"})
    if plan.disks.layout is Layout.RAID1:
        disk.set("swraid", "true")
    for url in (plan.packages.tree or "", *(each.url or "" for each in plan.packages.repositories)):
        _add(top, "source", url, {"type": "url"})
    _network(top, plan)
    if plan.root_password is not None:
        shown = MASK if masked else plan.root_password.reveal()
        _add(top, "root-password", shown, {"type": "hash"})
    _add(top, "timezone", plan.time_zone)
    _add(top, "keymap", plan.keyboard)
    for stage, url in scripts.items():
        _add(top, "script", url, {"stage": stage, "type": "url"})
    Xml.indent(top)
    return Xml.tostring(top, encoding="unicode", xml_declaration=False) + "\n"


def _network(top: Xml.Element, plan: InstallPlan) -> None:
    network = plan.network
    port = Xml.SubElement(top, "admin-interface", {"hwaddr": network.mac, "proto": "static"})
    if network.vlan is not None:
        port.set("vlan", str(network.vlan))
    _add(port, "ipaddr", str(network.address.ip))
    _add(port, "subnet", str(network.address.netmask))
    _add(port, "gateway", str(network.gateway))
    for address in network.dns:
        _add(top, "name-server", str(address))
    _add(top, "hostname", plan.full_name)
    chosen = plan.role.time_servers
    if servers := plan.time_servers if chosen is None else chosen:
        # Older installers do not know this element, and go by the servers alone.
        Xml.SubElement(top, "ntp", {"source": "manual"})
        for server in servers:
            _add(top, "ntp-server", server)


def _add(
    parent: Xml.Element, name: str, text: str, attributes: Mapping[str, str] | None = None
) -> Xml.Element:
    made = Xml.SubElement(parent, name, dict(attributes or {}))
    made.text = text
    return made


def system(name: str) -> System:
    """One of the systems.

    Raises UnknownSystem.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    error = UnknownSystem(f"no answer file is known for '{name}', expected {', '.join(SYSTEMS)}")
    if near := get_close_matches(name, SYSTEMS, 1):
        error.add_note(f"did you mean '{near[0]}'?")
    raise error


def check_fit(plan: InstallPlan, kind: System) -> None:
    """What the installer can do covers what the plan asks.

    Raises BadValue.
    """
    password = plan.root_password
    for field, expected, fits in (
        ("role", f"a plain host on {kind.title}", plan.role.metapackage is None),
        ("packages.ours", f"nothing on {kind.title}", plan.packages.ours is None),
        ("packages.more", f"nothing on {kind.title}", not plan.packages.more),
        ("packages.tree", "the URL of the installation tree", plan.packages.tree is not None),
        ("bond", f"none: {kind.title} makes it when it runs", plan.network.bond is None),
        ("addresses", f"none: {kind.title} is given them when it runs", not plan.network.more),
        ("gateway", "an address: the installer takes no network without", plan.network.gateway),
        (
            "root_password",
            f"a SHA-512 hash ($6$): only root manages {kind.title}, and it has no yescrypt",
            password is not None and password.reveal().startswith("$6$"),
        ),
        (
            "administrators",
            f"keys alone: {kind.title} has no administrator but root",
            all(user.password is None for user in plan.administrators),
        ),
        ("report_url", "an http URL", plan.report_url.reveal().startswith("http://")),
    ):
        if not fits:
            raise BadValue(field, expected)
    if any(each.url is None for each in plan.packages.repositories):
        raise BadValue("repositories", "URLs of supplemental packs")


def answer_within(script: str) -> str:
    """The answer file that a rendered script would write; empty where there is none."""
    return script.partition(f"{BEGIN}\n")[2].partition(f"\n{END}\n")[0]


def validate(text: str) -> Sequence[Finding]:
    """What the installer would not take of an answer file."""
    try:
        top = Xml.fromstring(text)
    except Xml.ParseError as error:
        return [Finding(error.position[0], "not XML")]
    findings = []
    if top.tag != "installation":
        findings.append(f"{top.tag}: expected installation")
    for element in top.iter():
        if element.tag not in ELEMENTS:
            near = get_close_matches(element.tag, ELEMENTS, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            findings.append(f"the installer knows no {element.tag}{hint}")
            continue
        unknown = sorted(element.attrib.keys() - ELEMENTS[element.tag])
        findings += (f"{element.tag}: the attribute {name} is unknown" for name in unknown)
    findings += (f"{name} is missing" for name in NEEDED if top.find(name) is None)
    return [Finding(WHOLE, words) for words in findings]
