"""What a preseed file may say: a checker of its lines, with the questions that we answer.

debconf's own checker looks at the form of a line alone: a question that is misspelt is stored and
never asked for, and the installation stops for somebody to answer the right one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from kickstarts.validate import Finding, Script

INSTALLER = "d-i"
"""The owner of what the installer itself asks."""
OURS = "rackseed/"
"""What our own commands ask for."""

QUESTIONS: Mapping[str, str] = {
    "apt-setup/cdrom/set-first": "boolean",
    "apt-setup/contrib": "boolean",
    "apt-setup/local#/comment": "string",
    "apt-setup/local#/key": "string",
    "apt-setup/local#/repository": "string",
    "apt-setup/local#/source": "boolean",
    "apt-setup/non-free": "boolean",
    "apt-setup/non-free-firmware": "boolean",
    "apt-setup/security_host": "string",
    "apt-setup/security_path": "string",
    "apt-setup/services-select": "multiselect",
    "apt-setup/use_mirror": "boolean",
    "base-installer/install-recommends": "boolean",
    "base-installer/kernel/image": "string",
    "cdrom-detect/eject": "boolean",
    "clock-setup/ntp": "boolean",
    "clock-setup/ntp-server": "string",
    "clock-setup/utc": "boolean",
    "debian-installer/add-kernel-opts": "string",
    "debian-installer/exit/halt": "boolean",
    "debian-installer/exit/poweroff": "boolean",
    "debian-installer/locale": "string",
    "finish-install/keep-consoles": "boolean",
    "finish-install/reboot_in_progress": "note",
    "grub-installer/bootdev": "string",
    "grub-installer/force-efi-extra-removable": "boolean",
    "grub-installer/only_debian": "boolean",
    "grub-installer/with_other_os": "boolean",
    "hw-detect/load_firmware": "boolean",
    "keyboard-configuration/xkb-keymap": "select",
    "localechooser/supported-locales": "multiselect",
    "mirror/country": "string",
    "mirror/http/directory": "string",
    "mirror/http/hostname": "string",
    "mirror/http/proxy": "string",
    "mirror/https/directory": "string",
    "mirror/https/hostname": "string",
    "mirror/https/proxy": "string",
    "mirror/protocol": "select",
    "mirror/suite": "select",
    "netcfg/choose_interface": "select",
    "netcfg/confirm_static": "boolean",
    "netcfg/dhcp_timeout": "string",
    "netcfg/disable_autoconfig": "boolean",
    "netcfg/enable": "boolean",
    "netcfg/get_domain": "string",
    "netcfg/get_gateway": "string",
    "netcfg/get_hostname": "string",
    "netcfg/get_ipaddress": "string",
    "netcfg/get_nameservers": "string",
    "netcfg/get_netmask": "string",
    "netcfg/hostname": "string",
    "partman-auto-lvm/guided_size": "string",
    "partman-auto-lvm/new_vg_name": "string",
    "partman-auto-raid/recipe": "string",
    "partman-auto/choose_recipe": "select",
    "partman-auto/disk": "string",
    "partman-auto/expert_recipe": "string",
    "partman-auto/method": "string",
    "partman-efi/non_efi_system": "boolean",
    "partman-lvm/confirm": "boolean",
    "partman-lvm/confirm_nooverwrite": "boolean",
    "partman-lvm/device_remove_lvm": "boolean",
    "partman-md/confirm": "boolean",
    "partman-md/confirm_nooverwrite": "boolean",
    "partman-md/device_remove_md": "boolean",
    "partman-partitioning/choose_label": "select",
    "partman-partitioning/confirm_write_new_label": "boolean",
    "partman-partitioning/default_label": "string",
    "partman/choose_partition": "select",
    "partman/confirm": "boolean",
    "partman/confirm_nooverwrite": "boolean",
    "partman/early_command": "string",
    "partman/mount_style": "select",
    "passwd/make-user": "boolean",
    "passwd/root-login": "boolean",
    "passwd/root-password-crypted": "password",
    "passwd/user-default-groups": "string",
    "passwd/user-fullname": "string",
    "passwd/user-password-crypted": "password",
    "passwd/user-uid": "string",
    "passwd/username": "string",
    "pkgsel/include": "string",
    "pkgsel/run_tasksel": "boolean",
    "pkgsel/update-policy": "select",
    "pkgsel/upgrade": "select",
    "preseed/early_command": "string",
    "preseed/late_command": "string",
    "time/zone": "string",
    "user-setup/allow-password-weak": "boolean",
    "user-setup/encrypt-home": "boolean",
}
"""Questions of the installer with their types, from the installation guide, appendix B.4, and the
templates of the installer's own packages; # is a digit. Passwords in clear are left out."""

SHELL = "/bin/sh"
TYPES = frozenset(
    ("boolean", "error", "multiselect", "note", "password", "select", "string", "text", "title")
)
FLAGS = frozenset(("seen",))
COMMANDS = frozenset(("partman/early_command", "preseed/early_command", "preseed/late_command"))
"""Their values are given to the installer's shell."""


def read(text: str) -> Iterator[tuple[int, str]]:
    r"""The logical lines, each with the number of its first one; `\` at the end continues."""
    start, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            start = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        if line.endswith("\\"):
            parts.append(line.removesuffix("\\"))
            continue
        yield start, " ".join((*parts, line)).strip()
        parts = []
    if parts:
        yield start, " ".join(parts).strip()


def scripts(text: str) -> tuple[Script, ...]:
    """What is given to the installer's shell."""
    fields = ((number, line.split(None, 3)) for number, line in read(text))
    return tuple(
        Script(each[1], number, SHELL, each[3])
        for number, each in fields
        if len(each) > 3 and each[1] in COMMANDS
    )


def packages(text: str) -> tuple[str, ...]:
    """What is installed besides what a task brings."""
    fields = (line.split(None, 3) for _, line in read(text))
    return tuple(
        package
        for each in fields
        if len(each) > 3 and each[1] == "pkgsel/include"
        for package in each[3].split()
    )


def commands(text: str) -> Mapping[str, str]:
    """What is given to the installer's shell, by question."""
    return {each.section: each.text for each in scripts(text)}


def validate(text: str) -> Sequence[Finding]:
    """What the installer would not understand, in the order of the lines."""
    seen = dict[str, int]()
    findings = list[Finding]()
    for number, line in read(text):
        findings += (Finding(number, words) for words in _problems(line))
        question = " ".join(line.split(None, 2)[:2])
        if question in seen and " seen " not in line:
            words = f"{question}: answered before in line {seen[question]}"
            findings.append(Finding(number, words))
        seen.setdefault(question, number)
    return sorted(findings)


def _problems(line: str) -> Iterator[str]:
    fields = line.split(None, 3)
    if len(fields) < 3:
        yield f"{line[:40]!r}: expected OWNER QUESTION TYPE VALUE"
        return
    owner, question, kind = fields[:3]
    value = fields[3] if len(fields) > 3 else ""
    if kind in FLAGS:
        return
    if kind not in TYPES:
        yield f"{question}: the type {kind} is unknown, expected one of {', '.join(sorted(TYPES))}"
    elif owner == INSTALLER:
        yield from _of_installer(question, kind)
    elif not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", owner):
        yield f"{owner}: not the name of a package"
    if kind == "boolean" and value not in ("true", "false"):
        yield f"{question}: expected true or false"
    if "\\n" in value:
        yield rf"{question}: the installer's debconf ends a value at \n; write \012"


def _of_installer(question: str, kind: str) -> Iterator[str]:
    if question.startswith(OURS):
        return
    known = re.sub(r"local[0-9]/", "local#/", question)
    if known not in QUESTIONS:
        near = get_close_matches(known, QUESTIONS, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        yield f"{question}: the installer asks no such question{hint}"
    # cdebconf takes any type for what is typed in; the guide itself mixes string and select.
    elif kind != QUESTIONS[known] and {kind, QUESTIONS[known]} != {"string", "select"}:
        yield f"{question}: expected the type {QUESTIONS[known]}, not {kind}"
