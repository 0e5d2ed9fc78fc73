"""What is known about symptoms: signs in what was recorded, advice, and the source of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from provision import signs
from provision.trail import Trail


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was recognised."""

    rule: str
    text: str
    """What was seen, one sentence."""
    advice: str
    """What a person should look at."""
    source: str
    """Where the knowledge comes from."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One symptom."""

    name: str
    recognise: Callable[[Trail], str | None]
    """The sentence of the finding, or None when the symptom is absent."""
    advice: str
    source: str


def find(trail: Trail) -> list[Finding]:
    """Every symptom that the trail shows, in the order of the table: causes before effects."""
    return [
        Finding(rule.name, text, rule.advice, rule.source)
        for rule in RULES
        if (text := rule.recognise(trail))
    ]


RULES: Sequence[Rule] = (
    Rule(
        "alarm",
        signs.alarms,
        "Find out who asked: a single-use URL was used twice, from elsewhere or in the clear. If an"
        " answer held secrets, change them.",
        "our own rule: an answer opens once, for one host, at one address",
    ),
    Rule(
        "never seen",
        signs.never_seen,
        "Look at power, cable and VLAN, whether network boot is on in the firmware, whether the"
        " inventory has the MAC address of that port, and whether a relay is needed.",
        "our own rule",
    ),
    Rule(
        "met with silence",
        signs.met_with_silence,
        "The reason names the rule; change the inventory, or leave the machine to its own server.",
        "our own rule: not answering has a reason",
    ),
    Rule(
        "another DHCP server",
        signs.chose_another,
        "Two servers answer here. Turn the other one off, or set dhcp: proxy beside it.",
        "RFC 2131, 4.3.2",
    ),
    Rule(
        "offer never requested",
        signs.never_requested,
        "The offers do not arrive (VLAN, a switch port that forwards only after a delay, a relay"
        " without a way back), another server answers faster, or the firmware dislikes the offer.",
        "RFC 2131, 3.1; xcat-core#4830 (PXE-E18 after a half-formed offer)",
    ),
    Rule(
        "address refused",
        signs.refused_address,
        "The client remembers an address of another segment or server; it begins anew by itself.",
        "RFC 2131, 4.3.2",
    ),
    Rule(
        "nothing fetched",
        signs.nothing_fetched,
        "Look for a firewall before UDP port 69 or the HTTP port, and beside another DHCP server"
        " before UDP port 4011: an option 60 of that server sends UEFI there.",
        "fog-docs#188; PXE 2.1, 2.2.2; RFC 1350, 4",
    ),
    Rule(
        "size probe only",
        signs.only_probed,
        "Asking for the size first is normal; stopping there is not. Look for a firewall that"
        " drops TFTP's data ports, and for an Ethernet MTU below 1500 on the way.",
        "seen with OVMF, which ends its probe with ERROR 8; RFC 2349",
    ),
    Rule(
        "no TFTP data arrives",
        signs.no_data_arrives,
        "The answer comes from a port of its own: a firewall or NAT on the way must know TFTP.",
        "RFC 1350, 4 (transfer identifiers)",
    ),
    Rule(
        "TFTP stops midway",
        signs.stops_midway,
        "Look for a smaller MTU on the way (tunnels, VLANs), for lost packets, and for firmware"
        " that cannot take the block size or window that it asked for.",
        "crowbar-core#1078 (block sizes); RFC 2348; RFC 7440",
    ),
    Rule(
        "TFTP stops at block 65535",
        signs.stops_at_rollover,
        "The client cannot count on after block 65535: fetch large files by HTTP.",
        "RFC 1350, 5: block numbers have 16 bits",
    ),
    Rule(
        "unsigned program",
        signs.unsigned_under_secure_boot,
        "Set loader: grub for this host, or secure_boot: false if its firmware has it off.",
        "UEFI 2.10, 32.5; distributions sign shim and GRUB, not iPXE",
    ),
    Rule(
        "iPXE does not go on",
        signs.ipxe_never_asked,
        "iPXE found no network card: its UNDI or SNP driver does not fit this firmware. Try"
        " loader: grub or pxelinux. With Secure Boot on, unsigned iPXE is not started at all:"
        " set secure_boot: true.",
        "UEFI 2.10, 24.1 (simple network protocol); UEFI 2.10, 32.5",
    ),
    Rule(
        "no script",
        signs.no_script,
        "Look for a firewall before the HTTP port. A 404 for autoexec.ipxe stops some builds.",
        "tinkerbell#424",
    ),
    Rule(
        "shim without GRUB",
        signs.shim_without_grub,
        "shim asks the server of the DHCP reply, not of the proxy's: beside another DHCP server"
        " that server must name us. Or the signature is not in the firmware's list.",
        "shim#165",
    ),
    Rule(
        "GRUB without configuration",
        signs.grub_without_configuration,
        "GRUB stands at its prompt. With UEFI HTTP Boot older GRUB asks for no configuration: use"
        " firmware: uefi (TFTP). Otherwise its network driver failed.",
        "seen with OVMF HTTP Boot, shim and Debian's signed GRUB",
    ),
    Rule(
        "no kernel",
        signs.no_kernel,
        "The loader has its script and did not go on: look at the console for its error.",
        "our own rule",
    ),
    Rule(
        "missing file",
        signs.missing_file,
        "Put the file below artifacts, or install the boot program's package; rackseed check"
        " names what is missing.",
        "our own rule",
    ),
    Rule(
        "single-use URL refused",
        signs.refused_urls,
        "Boot the host again: every boot script has fresh URLs.",
        "our own rule: an answer opens once, for one host, at one address",
    ),
    Rule(
        "armed and not seen",
        signs.armed_and_not_seen,
        "Switch it on or reset it, with network boot first or once.",
        "our own rule",
    ),
    Rule(
        "armed and boots its disk",
        signs.armed_and_boots_its_disk,
        "The boot order has the disk first: choose network boot once in the firmware or by BMC.",
        "our own rule: firmware sends option 93, an installed system does not (RFC 4578, 2.1)",
    ),
    Rule(
        "reboots while deploying",
        signs.reboots_while_deploying,
        "The installer ended without its report, or was reset. If the disk starts a good system,"
        " let the answer report 'installed'; otherwise disarm, and arm it again.",
        "our own rule: an arming is used up by the delivery of its answer",
    ),
    Rule(
        "deploying in silence",
        signs.deploying_in_silence,
        "Look at the console. To give it up: rackseed disarm; then arm it again.",
        "our own rule",
    ),
    Rule(
        "inspection in silence",
        signs.inspection_in_silence,
        "The ramdisk has no driver for this network card, or its port forwards only after a"
        " delay; its console says which.",
        "our own rule",
    ),
    Rule(
        "failed",
        signs.failed,
        "Mend the cause and arm the host again.",
        "what the machine reported",
    ),
)
