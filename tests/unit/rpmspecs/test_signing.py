"""Which key signs, and what is never shown."""

from pathlib import Path

import pytest

from rpmspecs.errors import BadInput
from rpmspecs.gpg import Passphrase, read_passphrase
from rpmspecs.signing import Key, choose_key, parse_keys

HOME = Path("/home/of/keys")
ONE, TWO, SUB = "A" * 40, "B" * 40, "C" * 40


def listing(validity: str = "u", capabilities: str = "scESC", where: str = "+") -> str:
    return (
        f"sec:{validity}:4096:1:{ONE[-16:]}:1:::u:::{capabilities}:::{where}:::23::0:\n"
        f"fpr:::::::::{ONE}:\n"
        "uid:u::::1::X::Some One <one@example.org>::::::::::0:\n"
    )


SUBKEY = f"ssb:u:4096:1:{SUB[-16:]}:1::::::s:::+:::23:\nfpr:::::::::{SUB}:\n"


def test_the_primary_key_signs_where_it_can():
    (key,) = parse_keys(listing() + SUBKEY, HOME)
    assert key == Key(ONE, "Some One <one@example.org>", HOME, f"{ONE}!")


@pytest.mark.parametrize(
    "primary", [listing(capabilities="cSC"), listing(where="#")], ids=["cannot", "kept elsewhere"]
)
def test_else_a_subkey_signs(primary):
    (key,) = parse_keys(primary + SUBKEY, HOME)
    assert (key.fingerprint, key.signs_with) == (ONE, f"{SUB}!")


@pytest.mark.parametrize("validity", ["e", "r", "d", "i"])
def test_a_key_that_expired_or_was_revoked_signs_nothing(validity):
    assert parse_keys(listing(validity), HOME) == []


KEYS = [Key(ONE, "Build <rpm@example.org>", HOME, "x"), Key(TWO, "Built <x@y>", HOME, "x")]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (ONE, [ONE]),
        (f"0x{ONE[-16:].lower()}", [ONE]),
        (" ".join(TWO[at : at + 4] for at in range(0, 40, 4)), [TWO]),
        ("rpm@example.org", [ONE]),
        ("buil", [ONE, TWO]),
        ("AAAA", []),
        ("nobody", []),
    ],
)
def test_a_key_is_named_by_number_or_owner(name, found):
    assert [key.fingerprint for key in choose_key(name, KEYS)] == found


def test_a_passphrase_is_not_shown():
    assert "secret" not in repr(Passphrase("secret"))


def test_a_passphrase_is_one_line_of_a_private_file(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("two words\nnot this\n")
    path.chmod(0o600)
    assert read_passphrase(path) == Passphrase("two words")
    path.chmod(0o640)
    with pytest.raises(BadInput, match="can be read by others, expected mode 0600"):
        read_passphrase(path)
    with pytest.raises(BadInput, match="No such file"):
        read_passphrase(tmp_path / "none")
