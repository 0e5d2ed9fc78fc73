"""An inventory is read as people write it, and YAML's traps do not catch it."""

from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.inventory import document, views
from provision.inventory.load import default_store_url, load
from provision.inventory.model import HostFirmware, Install, Inventory
from provision.inventory.problems import InventoryInvalid, Problem, nearest
from pxe.boot import Loader
from pxe.settings import DhcpMode

EXAMPLE = Path(__file__).parents[3] / "examples" / "rack.yaml"

SMALL = """\
network: {interface: eth0, subnet: 10.0.0.0/24}
roles: {any: {install: inspect}}
racks: {r1: {h1: {mac: 52:54:00:12:34:56, address: 10.0.0.9, role: any}}}
"""


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "rack.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes) -> Inventory:
    return load(write(folder, content))


def refused(folder: Path, content: str | bytes) -> Problem:
    with pytest.raises(InventoryInvalid) as caught:
        read(folder, content)
    (problem,) = caught.value.problems
    return problem


def test_the_example_has_a_host_for_every_way_to_boot():
    inventory = load(EXAMPLE)
    ways = {(h.firmware, h.loader, h.secure_boot) for h in inventory.hosts.values()}
    assert ways == {
        (HostFirmware.BIOS, Loader.IPXE, False),
        (HostFirmware.BIOS, Loader.PXELINUX, False),
        (HostFirmware.UEFI, Loader.IPXE, False),
        (HostFirmware.UEFI, Loader.GRUB, False),
        (HostFirmware.UEFI, Loader.GRUB, True),
        (HostFirmware.UEFI_HTTP, Loader.IPXE, False),
    }
    assert inventory.cloud.controller == "ctl01"
    assert inventory.store == f"sqlite:///{EXAMPLE.parent}/rack.db"


def test_what_a_role_extends_is_applied_and_may_be_overridden():
    roles = load(EXAMPLE).roles
    assert "base" not in roles
    assert roles["gpu"].install is Install.KICKSTART
    assert roles["gpu"].os == "centos-stream-9"
    assert (roles["compute"].disk, roles["gpu"].disk) == ("smallest", "largest")
    assert [(gpu.product, gpu.sriov) for gpu in roles["gpu"].gpu_passthrough] == [("1028", False)]
    assert roles["gpu"].answer == EXAMPLE.parent / "answers" / "host.ks.j2"


def test_what_is_not_said_has_its_default(tmp_path):
    inventory = read(tmp_path, SMALL)
    host = inventory.hosts["h1"]
    assert inventory.network.dhcp is DhcpMode.AUTHORITATIVE
    assert inventory.network.lease_time == timedelta(hours=1)
    assert inventory.network.http_port == 80
    assert inventory.network.discovery is None
    assert inventory.artifacts == tmp_path / "artifacts"
    assert inventory.store == default_store_url()
    assert (host.firmware, host.loader) == (HostFirmware.BIOS, Loader.IPXE)
    assert str(host.place) == f"{tmp_path / 'rack.yaml'}:3"


def test_a_host_is_found_by_its_mac(tmp_path):
    inventory = read(tmp_path, SMALL)
    host = inventory.hosts["h1"]
    assert inventory.by_mac == {host.mac: host}


def test_the_only_controller_need_not_be_named(tmp_path):
    text = SMALL.replace("{install: inspect}", "{install: inspect, metapackage: node-full}")
    assert read(tmp_path, text).cloud.controller == "h1"


@pytest.mark.parametrize("mac", ["52:54:00:12:34:56", "10:20:30:40:50:59", "00:11:22:33:44:55"])
def test_a_mac_of_digits_is_no_base_60_number(tmp_path, mac):
    assert str(read(tmp_path, SMALL.replace("52:54:00:12:34:56", mac)).hosts["h1"].mac) == mac


def test_names_of_digits_keep_their_zeros(tmp_path):
    text = SMALL.replace("r1:", "012:").replace("h1:", "0o17:")
    (host,) = read(tmp_path, text).hosts.values()
    assert (host.rack, host.name) == ("012", "0o17")


def test_a_name_that_yaml_reads_as_a_truth_value_stays_a_name(tmp_path):
    (host,) = read(tmp_path, SMALL.replace("h1:", "no:")).hosts.values()
    assert host.name == "no"


def test_json_is_yaml_and_works(tmp_path):
    text = """{"network": {"interface": "eth0", "subnet": "10.0.0.0/24"},
               "roles": {"any": {"install": "inspect"}},
               "racks": {"r1": {"h1": {"mac": "52:54:00:12:34:56", "address": "10.0.0.9",
                                       "role": "any"}}}}"""
    assert read(tmp_path, text).hosts["h1"].address == IPv4Address("10.0.0.9")


def test_aliases_and_merged_mappings_work(tmp_path):
    text = SMALL.replace(
        "{h1: {mac: 52:54:00:12:34:56, address: 10.0.0.9, role: any}}",
        "{h1: &h {mac: 52:54:00:12:34:56, address: 10.0.0.9, role: any, firmware: uefi}, "
        "h2: {<<: *h, mac: 52:54:00:12:34:57, address: 10.0.0.10}}",
    )
    inventory = read(tmp_path, text)
    assert inventory.hosts["h2"].firmware is HostFirmware.UEFI
    assert str(inventory.hosts["h2"].mac) == "52:54:00:12:34:57"


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf" + SMALL.encode()).hosts


def test_carriage_returns_are_line_ends(tmp_path):
    assert read(tmp_path, SMALL.replace("\n", "\r\n")).hosts["h1"].place.line == 3


def test_arguments_may_be_one_line(tmp_path):
    systems = "systems: {d: {kernel: k, initrds: [a, b], arguments: console=ttyS0  quiet}}\n"
    system = read(tmp_path, SMALL + systems).systems["d"]
    assert system.arguments == ("console=ttyS0", "quiet")
    assert system.initrds == ("a", "b")


def test_packages_of_a_system_lie_beside_the_inventory(tmp_path):
    systems = "systems: {d: {kernel: k, initrd: a, packages: rpm/d}, e: {kernel: k, initrd: a}}\n"
    inventory = read(tmp_path, SMALL + systems)
    assert inventory.systems["d"].packages == tmp_path / "rpm/d"
    assert views.repositories(inventory) == {"d": tmp_path / "rpm/d"}


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InventoryInvalid, match=r"rack\.yaml: there is no such file"):
        load(tmp_path / "rack.yaml")


def test_a_folder_is_one_sentence(tmp_path):
    with pytest.raises(InventoryInvalid, match="this is a folder, expected a file"):
        load(tmp_path)


def test_a_path_through_a_file_is_one_sentence(tmp_path):
    with pytest.raises(InventoryInvalid, match=r"cannot be read \(not a directory\)"):
        load(write(tmp_path, SMALL) / "rack.yaml")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~\n"])
def test_an_empty_file_says_how_to_begin(tmp_path, text):
    problem = refused(tmp_path, text)
    assert problem.message == "the file is empty, expected an inventory"
    assert "network, roles and racks" in problem.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just words", "1: the file is 'just words', expected the sections network"),
        ("- a\n- b", "1: the file is a list, expected the sections network"),
        ("network: [", "1: not YAML: while parsing a flow node, did not find expected node"),
        ("a: b: c", "1: not YAML: mapping values are not allowed in this context"),
        (SMALL + "---\n" + SMALL, "4: a second document begins, expected one per file"),
        (SMALL.encode("utf-16"), "1: byte 0xff is not UTF-8, expected UTF-8 text"),
        (SMALL.encode() + b"# caf\xe9\n", "4: byte 0xe9 is not UTF-8, expected UTF-8 text"),
        ("a: &a [*a]", "1: *a stands for nothing above, expected an anchor"),
        ("[" * 100_000, "1: nested deeper than 32 levels, expected an inventory"),
        ("x" * 5_000_000, "0: larger than 4 MiB, expected an inventory"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_inventory_at_all_is_one_sentence(tmp_path, text, expected):
    problem = refused(tmp_path, text)
    assert f"{problem.place.line}: {problem.message}".startswith(expected)


def test_a_billion_laughs_are_not_laughed(tmp_path):
    lines = ["a0: &a0 lol"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    problem = refused(tmp_path, "\n".join(lines))
    assert problem.place.line == 7
    assert "expand to more than 500000 values" in problem.message


def test_both_parsers_of_pyyaml_give_the_same_tree(monkeypatch):
    fast = document.read_document(EXAMPLE)
    monkeypatch.setattr(document, "_PARSER", document.yaml.SafeLoader)
    assert document.read_document(EXAMPLE) == fast


@settings(max_examples=300, deadline=None)
@given(
    position=st.integers(0, 10_000),
    cut=st.integers(0, 12),
    put=st.text(alphabet="abc019:-{}[]&*!|>'\"%@#,?\t\n \\\x00é", max_size=6),
)
def test_a_spoilt_example_is_loaded_or_refused_and_nothing_else(
    tmp_path_factory, position, cut, put
):
    text = EXAMPLE.read_text(encoding="utf-8")
    position %= len(text)
    spoilt = text[:position] + put + text[position + cut :]
    path = write(tmp_path_factory.getbasetemp(), spoilt)
    try:
        outcome = load(path)
    except InventoryInvalid as refusal:
        outcome = refusal.problems
    assert isinstance(outcome, Inventory) or outcome
    assert "\n" not in "".join(map(str, outcome if isinstance(outcome, tuple) else ()))


def many_hosts(count: int, subnet: str) -> str:
    rows = "".join(
        f"    h{i}: {{mac: 52:54:00:{i >> 16:02x}:{i >> 8 & 255:02x}:{i & 255:02x}, "
        f"address: {IPv4Address('10.20.0.1') + i}, role: any}}\n"
        for i in range(count)
    )
    return (
        f"network: {{interface: eth0, subnet: {subnet}}}\nroles: {{any: {{install: inspect}}}}\n"
        f"racks:\n  r1:\n{rows}"
    )


def test_a_large_inventory_is_read_whole(tmp_path):
    assert len(read(tmp_path, many_hosts(5000, "10.20.0.0/16")).hosts) == 5000


@pytest.mark.timeout(20)  # comparing each problem with each other one took minutes
def test_thousands_of_problems_are_told_too(tmp_path):
    with pytest.raises(InventoryInvalid) as caught:
        read(tmp_path, many_hosts(5000, "10.21.0.0/16"))
    assert len(caught.value.problems) == 5000


@pytest.mark.parametrize(
    ("user", "environment", "url"),
    [
        (0, {"HOME": "/root"}, "sqlite:////var/lib/rackseed/rackseed.db"),
        (1000, {"HOME": "/home/u"}, "sqlite:////home/u/.local/state/rackseed/rackseed.db"),
        (1000, {"HOME": "/home/u", "XDG_STATE_HOME": "/s"}, "sqlite:////s/rackseed/rackseed.db"),
    ],
)
def test_state_is_kept_where_the_user_may_write(monkeypatch, user, environment, url):
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert default_store_url(environment) == url


@pytest.mark.parametrize(
    ("word", "near"), [("gatway", "gateway"), ("MAC", "mac"), ("zzz", None), ("subnt", "subnet")]
)
def test_the_nearest_known_word_is_offered(word, near):
    assert nearest(word, ["gateway", "mac", "subnet"]) == near


def test_a_file_that_is_no_inventory_is_told_once_and_not_quoted(tmp_path):
    path = tmp_path / "passwords"
    path.write_text("root: hunter2\nme: hunter3\n", encoding="utf-8")
    with pytest.raises(InventoryInvalid) as refused:
        load(path)
    [problem] = refused.value.problems
    assert "no section of an inventory is in it" in problem.text
    assert "hunter" not in problem.text
