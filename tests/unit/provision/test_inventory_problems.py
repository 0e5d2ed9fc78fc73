"""Every mistake in an inventory is its own sentence, with its line, its key and a hint."""

import random
import re
from contextlib import suppress
from pathlib import Path

import pytest

from provision.inventory.load import load
from provision.inventory.problems import InventoryInvalid, Problem

GOOD = """\
network:
  interface: br-prov
  subnet: 10.20.0.0/22
  server: 10.20.0.3
  gateway: 10.20.0.1
  dns: [10.20.0.2]
  discovery: 10.20.3.1-10.20.3.250
  http_port: 80
cloud:
  domain: cloud.example.org
  controller: ctl01
  time_servers: [10.20.0.1]
artifacts: files
systems:
  debian-12:
    kernel: debian-12/linux
    initrd: debian-12/initrd.gz
    arguments: [priority=critical]
roles:
  controller: {install: kickstart, os: debian-12, answer: a.j2, metapackage: node-full}
  compute: {install: image, image: compute.raw, disk: smallest}
  gpu:
    extends: compute
    gpu_passthrough: [{alias: K20m, vendor: "10de", product: "1028"}]
racks:
  r12:
    ctl01: {mac: 52:54:00:aa:00:01, address: 10.20.0.11, role: controller}
    cmp01:
      mac: 52:54:00:aa:00:02
      address: 10.20.0.12
      role: compute
      firmware: uefi
      bmc: {redfish: https://10.21.0.12, user: root}
"""


def problems(folder: Path, text: str) -> list[Problem]:
    path = folder / "rack.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InventoryInvalid) as caught:
        load(path)
    return list(caught.value.problems)


def test_the_inventory_that_the_rows_below_spoil_is_good(tmp_path):
    (tmp_path / "rack.yaml").write_text(GOOD, encoding="utf-8")
    assert list(load(tmp_path / "rack.yaml").hosts) == ["ctl01", "cmp01"]


MISTAKES = [
    # what to replace, by what, the one problem as `line: key: message`, the hint
    (
        "  gateway:",
        "  gatway:",
        "5: network.gatway: unknown key 'gatway', expected one of interface, subnet, server, "
        "gateway, dns, dhcp, discovery, lease_time, http_port",
        "did you mean 'gateway'?",
    ),
    (
        "  subnet: 10.20.0.0/22\n",
        "  subnet: 10.20.0.0/22\n  subnet: 10.20.0.0/22\n",
        "4: the key 'subnet' is written twice, first on line 3, expected once",
        "keep one of the two",
    ),
    (
        "  interface: br-prov\n",
        "",
        "1: network: the key 'interface' is missing",
        "add  interface: br-prov",
    ),
    (
        "interface: br-prov",
        "interface: bridge-provisioning",
        "2: network.interface: found 'bridge-provisioning', expected an interface name of at most "
        "15 characters such as eth0",
        None,
    ),
    (
        "subnet: 10.20.0.0/22",
        "subnet: 10.20.0.1/22",
        "3: network.subnet: found '10.20.0.1/22', expected an IPv4 network such as 10.20.0.0/22, "
        "without host bits",
        "write 10.20.0.0/22",
    ),
    (
        "subnet: 10.20.0.0/22",
        "subnet: 10.20.0.0",
        "3: network.subnet: found '10.20.0.0', expected an IPv4 network such as 10.20.0.0/22",
        "write the prefix length, for example 10.20.0.0/24",
    ),
    (
        "subnet: 10.20.0.0/22",
        "subnet: 10.20.0.0/31",
        "3: network.subnet: found '10.20.0.0/31', expected a network with a prefix length between "
        "8 and 30",
        None,
    ),
    (
        "gateway: 10.20.0.1",
        "gateway: 10.20.0.256",
        "5: network.gateway: found '10.20.0.256', expected an IPv4 address such as 10.20.0.11",
        None,
    ),
    (
        "gateway: 10.20.0.1",
        "gateway: 10.30.0.1",
        "5: network.gateway: 10.30.0.1 lies outside the subnet 10.20.0.0/22, expected 10.20.0.1 "
        "to 10.20.3.254",
        None,
    ),
    (
        "server: 10.20.0.3",
        "server: 10.20.0.1",
        "4: network.server: 10.20.0.1 is the gateway too, expected another",
        None,
    ),
    (
        "gateway: 10.20.0.1",
        "gateway:",
        "5: network.gateway: found nothing, expected an IPv4 address such as 10.20.0.11",
        None,
    ),
    (
        "dns: [10.20.0.2]",
        "dns: [10.20.0.2, 224.0.0.1]",
        "6: network.dns[1]: found '224.0.0.1', expected the IPv4 address of one machine, not a "
        "multicast or broadcast one",
        None,
    ),
    (
        "discovery: 10.20.3.1-10.20.3.250",
        "discovery: 10.20.3.250-10.20.3.1",
        "7: network.discovery: found '10.20.3.250-10.20.3.1', expected a range whose first address "
        "is the lower one",
        "write 10.20.3.1-10.20.3.250",
    ),
    (
        "discovery: 10.20.3.1-10.20.3.250",
        "discovery: 10.20.3.1-10.20.4.9",
        "7: network.discovery: 10.20.4.9 lies outside the subnet 10.20.0.0/22, expected 10.20.0.1 "
        "to 10.20.3.254",
        None,
    ),
    (
        "discovery: 10.20.3.1-10.20.3.250",
        "discovery: 10.20.0.2-10.20.0.9",
        "7: network.discovery: the range holds the server 10.20.0.3, expected addresses free to "
        "give",
        None,
    ),
    (
        "http_port: 80",
        "dhcp: proxy",
        "7: network.discovery: a discovery range with dhcp: proxy, expected none: the other server "
        "gives addresses",
        "take discovery out, or set dhcp: authoritative",
    ),
    (
        "http_port: 80",
        "http_port: 80000",
        "8: network.http_port: found '80000', expected a port between 1 and 65535",
        None,
    ),
    (
        "http_port: 80",
        "dhcp: authoritive",
        "8: network.dhcp: found 'authoritive', expected one of authoritative, proxy",
        "did you mean 'authoritative'?",
    ),
    (
        "http_port: 80",
        "lease_time: 3600",
        "8: network.lease_time: found '3600', expected a number and a unit such as 90s, 30m, 2h or "
        "1d",
        None,
    ),
    (
        "domain: cloud.example.org",
        "domain: cloud..org",
        "10: cloud.domain: found 'cloud..org', expected a domain name such as cloud.example.org",
        None,
    ),
    (
        "controller: ctl01",
        "controller: ctl02",
        "11: cloud.controller: there is no host 'ctl02', expected the name of one in racks",
        "did you mean 'ctl01'?",
    ),
    (
        "  controller: ctl01",
        "  controller: cmp01",
        "27: racks.r12.ctl01.role: a second controller beside cmp01, expected one in the whole "
        "inventory",
        "only one host may have a role with metapackage: node-full",
    ),
    (
        "  compute: {install: image",
        "  compute: {metapackage: node-full, install: image",
        "31: racks.r12.cmp01.role: a second controller beside ctl01, expected one in the whole "
        "inventory",
        "only one host may have a role with metapackage: node-full",
    ),
    (
        "kernel: debian-12/linux",
        "kernel: ../linux",
        "16: systems.debian-12.kernel: found '../linux', expected a path below its folder, without "
        "'..' and not beginning with '/'",
        None,
    ),
    (
        "    initrd: debian-12/initrd.gz\n",
        "",
        "15: systems.debian-12: the key 'initrd' is missing",
        "add  initrd: debian-12/initrd.img",
    ),
    (
        "    arguments: [priority=critical]",
        "    package: rpm/debian-12",
        "18: systems.debian-12.package: unknown key 'package', expected one of kernel, initrd, "
        "initrds, arguments, packages, tree, hypervisor, "
        "hypervisor_arguments",
        "did you mean 'packages'?",
    ),
    (
        "    arguments: [priority=critical]",
        "    packages: [rpm]",
        "18: systems.debian-12.packages: found a list, expected one line of 1 to 1000 printable "
        "characters",
        None,
    ),
    (
        "[priority=critical]",
        '["priority=critical quiet"]',
        "18: systems.debian-12.arguments[0]: found 'priority=critical quiet', expected one word "
        "of ASCII without white space, quotes, dollar, backquote, backslash and braces",
        None,
    ),
    (
        "[priority=critical]",
        "priority=critical initrd=evil",
        "18: systems.debian-12.arguments: found 'priority=critical initrd=evil', expected an "
        "argument, not a file",
        "name the file under the key initrd",
    ),
    (
        "kernel: debian-12/linux",
        "kernel: debian-12//linux",
        "16: systems.debian-12.kernel: found 'debian-12//linux', expected a path of letters, "
        "digits and . _ ~ + @ - parted by single slashes",
        None,
    ),
    (
        "install: image,",
        "install: imgae,",
        "21: roles.compute.install: found 'imgae', expected one of kickstart, preseed, "
        "autoinstall, answerfile, image, inspect",
        "did you mean 'image'?",
    ),
    (
        "os: debian-12, ",
        "os: debian12, ",
        "20: roles.controller.os: there is no system 'debian12', expected the name of one in "
        "systems",
        "did you mean 'debian-12'?",
    ),
    (
        "os: debian-12, ",
        "",
        "20: roles.controller: install: kickstart needs the key 'os', which is missing",
        "add  os: centos-stream-9",
    ),
    (
        ", answer: a.j2",
        "",
        "20: roles.controller: no kickstart is known for 'debian-12', expected the key 'answer' "
        "or a known system",
        "add  answer: answers/host.ks.j2",
    ),
    (
        "disk: smallest",
        "disk: smallest, layout: plain",
        "21: roles.compute.layout: 'layout' is for answers of ours, expected none beside install: "
        "image",
        "take it out",
    ),
    (
        ", answer: a.j2",
        ", answer: a.j2, more_packages: [vim]",
        "20: roles.controller.more_packages: 'more_packages' is for answers of ours, expected none "
        "beside a template of your own",
        "take it out, or  answer",
    ),
    (
        "disk: smallest",
        "disk: /dev/sda",
        "21: roles.compute.disk: found '/dev/sda', expected smallest, largest, first, or a disk's "
        "serial number or path below /dev/disk/by-path",
        "names such as /dev/sda move between boots; a serial number does not",
    ),
    (
        "disk: smallest",
        "disk: smalest",
        "21: roles.compute.disk: found 'smalest', expected smallest, largest, first, or a disk's "
        "serial number or path below /dev/disk/by-path",
        "write smallest",
    ),
    (
        "extends: compute",
        "extends: compote",
        "23: roles.gpu.extends: there is no role 'compote', expected the name of a role",
        "did you mean 'compute'?",
    ),
    (
        "extends: compute",
        "extends: gpu",
        "23: roles.gpu.extends: goes in a circle (gpu -> gpu), expected an end",
        "take extends out of one of gpu -> gpu",
    ),
    (
        'product: "1028"',
        "product: 1028",
        "24: roles.gpu.gpu_passthrough[0].product: 1028 is a number to YAML, expected four "
        "hexadecimal digits in quotes",
        'write product: "1028"',
    ),
    (
        'vendor: "10de"',
        "vendor: nvidia",
        "24: roles.gpu.gpu_passthrough[0].vendor: found 'nvidia', expected four hexadecimal digits "
        'in quotes such as "10de"',
        None,
    ),
    (
        "[{alias: K20m",
        "[K20, {alias: K20m",
        "24: roles.gpu.gpu_passthrough[0]: found 'K20', expected a mapping",
        None,
    ),
    (
        "    cmp01:",
        "    cmp_01:",
        "28: racks.r12.cmp_01: found 'cmp_01', expected a host name of letters, digits and inner "
        "hyphens, at most 63 (RFC 1123)",
        None,
    ),
    (
        "    cmp01:",
        "    cmp01.example.org:",
        "28: racks.r12.cmp01.example.org: found 'cmp01.example.org', expected a host name of "
        "letters, digits and inner hyphens, at most 63 (RFC 1123)",
        "the domain is written once, as cloud.domain",
    ),
    (
        "    cmp01:",
        "    Cmp01:",
        "28: racks.r12.Cmp01: found 'Cmp01', expected a host name in lower case",
        "write cmp01",
    ),
    (
        "mac: 52:54:00:aa:00:02",
        "mac: 52:54:00:aa:00",
        "29: racks.r12.cmp01.mac: found '52:54:00:aa:00', expected a MAC address such as "
        "52:54:00:aa:00:01",
        None,
    ),
    (
        "mac: 52:54:00:aa:00:02",
        "mac: 53:54:00:aa:00:02",
        "29: racks.r12.cmp01.mac: found '53:54:00:aa:00:02', expected the MAC address of one port, "
        "not a multicast one (its first octet is odd)",
        "the first octet is 53; a port's own is even",
    ),
    (
        "mac: 52:54:00:aa:00:02",
        "mac: ff:ff:ff:ff:ff:ff",
        "29: racks.r12.cmp01.mac: found 'ff:ff:ff:ff:ff:ff', expected the MAC address of one port, "
        "not the broadcast address",
        None,
    ),
    (
        "mac: 52:54:00:aa:00:02",
        "mac: 52-54-00-AA-00-01",
        "29: racks.r12.cmp01.mac: the MAC address 52:54:00:aa:00:01 is taken by host ctl01 in rack "
        "r12 (line 27), expected another",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.0.11",
        "30: racks.r12.cmp01.address: the address 10.20.0.11 is taken by host ctl01 in rack r12 "
        "(line 27), expected another",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.4.1",
        "30: racks.r12.cmp01.address: 10.20.4.1 lies outside the subnet 10.20.0.0/22, expected "
        "10.20.0.1 to 10.20.3.254",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.0.0",
        "30: racks.r12.cmp01.address: 10.20.0.0 is the network's own address, expected 10.20.0.1 "
        "to 10.20.3.254",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.3.255",
        "30: racks.r12.cmp01.address: 10.20.3.255 is the broadcast address, expected 10.20.0.1 to "
        "10.20.3.254",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.0.1",
        "30: racks.r12.cmp01.address: 10.20.0.1 is the gateway's address, expected one of its own",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.0.3",
        "30: racks.r12.cmp01.address: 10.20.0.3 is the boot server's address, expected one of its "
        "own",
        None,
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.3.7",
        "30: racks.r12.cmp01.address: 10.20.3.7 lies inside the discovery range "
        "10.20.3.1-10.20.3.250, expected it outside",
        "unknown machines are given addresses of that range",
    ),
    (
        "address: 10.20.0.12",
        "address: 10.20.0.12/22",
        "30: racks.r12.cmp01.address: found '10.20.0.12/22', expected an IPv4 address such as "
        "10.20.0.11",
        "leave the prefix length to network.subnet",
    ),
    (
        "      role: compute",
        "      role: computer",
        "31: racks.r12.cmp01.role: there is no role 'computer', expected the name of one in roles",
        "did you mean 'compute'?",
    ),
    (
        "  compute: {install: image, image: compute.raw, disk: smallest}",
        "  compute: {disk: smallest}",
        "31: racks.r12.cmp01.role: the role 'compute' does not say how it is installed, expected "
        "'install'",
        "add to roles.compute  install: one of kickstart, preseed, autoinstall, answerfile, image, "
        "inspect",
    ),
    (
        "firmware: uefi",
        "firmware: efi",
        "32: racks.r12.cmp01.firmware: found 'efi', expected one of bios, uefi, uefi-http",
        "did you mean 'uefi'?",
    ),
    (
        "firmware: uefi",
        "secure_boot: true",
        "32: racks.r12.cmp01.secure_boot: Secure Boot with firmware bios, expected firmware uefi "
        "or uefi-http",
        "add  firmware: uefi",
    ),
    (
        "firmware: uefi\n",
        "firmware: uefi\n      loader: pxelinux\n",
        "33: racks.r12.cmp01.loader: pxelinux runs only on BIOS, this host has uefi; expected ipxe "
        "or grub",
        "take loader out for the default",
    ),
    (
        "firmware: uefi\n",
        "loader: grub\n",
        "32: racks.r12.cmp01.loader: GRUB is served only to UEFI, this host has bios; expected "
        "ipxe or pxelinux",
        "take loader out for the default",
    ),
    (
        "firmware: uefi\n",
        "firmware: uefi\n      secure_boot: true\n      loader: ipxe\n",
        "34: racks.r12.cmp01.loader: iPXE is not signed for Secure Boot, expected grub",
        "take loader out: Secure Boot means shim and GRUB",
    ),
    (
        "firmware: uefi\n",
        "secure_boot: maybe\n",
        "32: racks.r12.cmp01.secure_boot: found 'maybe', expected true or false",
        None,
    ),
    (
        "{redfish: https://10.21.0.12, user: root}",
        "{redfish: https://10.21.0.12, ipmi: ipmi://10.21.0.12}",
        "33: racks.r12.cmp01.bmc: both redfish and ipmi are given, expected exactly one of them",
        None,
    ),
    (
        "{redfish: https://10.21.0.12, user: root}",
        "{user: root}",
        "33: racks.r12.cmp01.bmc: neither redfish nor ipmi is given, expected exactly one of them",
        "add  redfish: https://10.21.0.11",
    ),
    (
        "redfish: https://10.21.0.12",
        "redfish: https://root:calvin@10.21.0.12",
        "33: racks.r12.cmp01.bmc.redfish: found 'https://***@10.21.0.12', expected a URL such as "
        "https://10.21.0.11 without a user or password",
        "write the user as `user:`; passwords belong into the secrets file",
    ),
    (
        "{redfish: https://10.21.0.12, user: root}",
        "10.21.0.12",
        "33: racks.r12.cmp01.bmc: found '10.21.0.12', expected a mapping",
        None,
    ),
    (
        "    ctl01: {mac: 52:54:00:aa:00:01, address: 10.20.0.11, role: controller}",
        "    ctl01:",
        "27: racks.r12.ctl01: found nothing, expected a mapping of mac, address, role, firmware, "
        "secure_boot, loader, disk, bond, vlan, addresses, bmc",
        None,
    ),
    (
        "artifacts: files",
        "store: rack.db",
        "13: store: found 'rack.db', expected a URL such as sqlite:///rack.db or "
        "postgresql://boot@db.example.org/rackseed",
        "write sqlite:///rack.db",
    ),
    (
        "artifacts: files",
        "store: 'sqlite://'",
        "13: store: found 'sqlite://', expected a URL such as sqlite:///rack.db or "
        "postgresql://boot@db.example.org/rackseed",
        "a store in memory forgets what is armed",
    ),
    (
        "artifacts: files",
        "store: postgresql://boot:hunter2@db.example.org/rackseed",
        "13: store: found 'postgresql://***@db.example.org/rackseed', expected a URL without a "
        "password in it",
        "give the whole URL in the environment as RACKSEED_STORE",
    ),
    (
        "artifacts: files\n",
        "\tartifacts: files\n",
        "13: a tab in the indentation, expected spaces",
        "let the editor write spaces for this file",
    ),
    (
        "artifacts: files",
        "artifacts: !!python/object/apply:os.system [id]",
        "13: the tag 'tag:yaml.org,2002:python/object/apply:os.system' has no meaning here, "
        "expected a plain value",
        None,
    ),
    (
        "artifacts: files",
        "artifacts: *files",
        "13: *files stands for nothing above, expected an anchor",
        None,
    ),
    (
        "artifacts: files",
        "[a, b]: files",
        "13: a key is a list or a mapping, expected a word",
        None,
    ),
    (
        "artifacts: files",
        "artifacts: fi\x07les",
        "13: the control character U+0007, expected printable text",
        None,
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "expected", "hint"), MISTAKES, ids=[row[2].split(",")[0] for row in MISTAKES]
)
def test_one_mistake_is_one_sentence(tmp_path, old, new, expected, hint):
    assert GOOD.count(old) == 1, f"{old!r} does not stand exactly once in the good inventory"
    found = problems(tmp_path, GOOD.replace(old, new))
    shown = [str(problem).removeprefix(f"{tmp_path / 'rack.yaml'}:") for problem in found]
    assert shown == [expected]
    assert found[0].hint == hint


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        GOOD.replace("gateway: 10.20.0.1", "gateway: x")
        .replace("firmware: uefi", "firmware: efi")
        .replace("role: controller}", "role: controler}")
        .replace("kernel: ", "kernal: ")
    )
    assert [problem.place.line for problem in problems(tmp_path, text)] == [5, 15, 16, 27, 32]


def test_host_names_are_unique_across_racks(tmp_path):
    rack = "  r13:\n    ctl01: {mac: 52:54:00:aa:00:09, address: 10.20.0.19, role: compute}\n"
    (problem,) = problems(tmp_path, GOOD + rack)
    assert str(problem).endswith(
        ":35: racks.r13.ctl01: the host name ctl01 is taken by host ctl01 in rack r12 (line 27), "
        "expected another"
    )


def test_a_circle_of_roles_is_named_whole_and_once(tmp_path):
    text = GOOD.replace(
        "  gpu:\n    extends: compute\n",
        "  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}\n  d: {extends: a}\n  gpu:\n",
    )
    (problem,) = problems(tmp_path, text)
    assert "goes in a circle (a -> b -> c -> a)" in problem.message


def test_a_problem_in_a_base_role_is_told_once_for_all_that_extend_it(tmp_path):
    assert len(problems(tmp_path, GOOD.replace("disk: smallest", "disk: sdx/"))) == 1


SECRETS = GOOD.replace("artifacts: files", "secrets: s.yaml")


def test_a_missing_secrets_file_is_told_with_the_command_that_makes_one(tmp_path):
    (problem,) = problems(tmp_path, SECRETS)
    assert problem.key == "secrets"
    assert "(no such file or directory), expected a file with mode 0600" in problem.message
    assert problem.hint == f"install -m 600 /dev/null {tmp_path}/s.yaml"


def test_secrets_that_others_may_read_are_refused_unread(tmp_path):
    (tmp_path / "s.yaml").write_text("hunter2", encoding="utf-8")
    (tmp_path / "s.yaml").chmod(0o640)
    (problem,) = problems(tmp_path, SECRETS)
    assert problem.message.endswith("has mode 0640, expected 0600: others may read it")
    assert problem.hint == f"chmod 600 {tmp_path}/s.yaml"
    assert "hunter2" not in str(problem)


def test_secrets_of_the_right_mode_are_accepted(tmp_path):
    (tmp_path / "s.yaml").touch(mode=0o600)
    (tmp_path / "rack.yaml").write_text(SECRETS, encoding="utf-8")
    assert load(tmp_path / "rack.yaml").secrets == tmp_path / "s.yaml"


@pytest.mark.parametrize(
    ("artifacts", "more", "what"),
    [
        (".", "", "the inventory"),
        ("/", "", "the inventory"),
        ("own/../", "", "the inventory"),
        ("link", "", "the inventory"),
        ("kept", "secrets: kept/s.yaml", "the secrets"),
        ("kept", "store: sqlite:///kept/rack.db", "the store"),
    ],
)
def test_a_folder_that_is_served_holds_nothing_private(tmp_path, artifacts, more, what):
    (tmp_path / "kept").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "kept/s.yaml").touch(mode=0o600)
    (tmp_path / "link").symlink_to(".")
    text = GOOD.replace("artifacts: files", f"artifacts: {artifacts}\n{more}")
    (problem,) = problems(tmp_path, text)
    assert problem.key == "artifacts"
    assert f" holds {what}, expected only files for every machine" in problem.message


def test_a_package_repository_holds_nothing_private_either(tmp_path):
    (problem,) = problems(tmp_path, GOOD.replace("arguments: [priority=critical]", "packages: ."))
    assert problem.key == "systems.debian-12.packages"
    assert " holds the inventory, expected only files for every machine" in problem.message
    assert problem.hint == "name a folder of its own:  packages: packages"


def test_an_answer_is_not_served_as_a_file(tmp_path):
    text = GOOD.replace("answer: a.j2", "answer: files/a.j2")
    (problem,) = problems(tmp_path, text)
    assert "files holds the answer of role controller" in problem.message


def test_a_loop_of_links_is_no_crash(tmp_path):
    (tmp_path / "files").symlink_to("files")
    (tmp_path / "rack.yaml").write_text(GOOD, encoding="utf-8")
    assert load(tmp_path / "rack.yaml").artifacts == tmp_path / "files"


SALT = (
    *("{", "}", "[", "]", ":", "- ", "\n", "  ", "*a", "&a ", "<<: *a", "~", "'", '"', "/", ".."),
    *(
        "99999999999999999999",
        "0.0.0.0/0",
        "-",
        "null",
        "!!str ",
        "? ",
        "|",
        "%",
        "\u0663",
        "é",
        "",
    ),
)


def test_whatever_a_person_breaks_is_refused_and_never_a_crash(tmp_path):
    chance = random.Random(20260712)
    path = tmp_path / "rack.yaml"
    for _ in range(400):
        text = GOOD
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(text) + 1)
            cut = chance.choice((0, 0, chance.randint(1, 12)))
            text = text[:at] + chance.choice(SALT) + text[at + cut :]
        path.write_text(text, encoding="utf-8")
        with suppress(InventoryInvalid):
            load(path)


@pytest.mark.parametrize("salt", SALT)
def test_no_value_whatever_is_a_crash(tmp_path, salt):
    path = tmp_path / "rack.yaml"
    for value in re.finditer(r"(?<=: )[^\s,{}\[\]]+", GOOD):
        path.write_text(GOOD[: value.start()] + salt + GOOD[value.end() :], encoding="utf-8")
        with suppress(InventoryInvalid):
            load(path)
