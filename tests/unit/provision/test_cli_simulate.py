"""`rackseed simulate` before it starts anything."""

import pytest

from provision.cli.main import invoke


@pytest.mark.parametrize("words", [["nowhere.yaml"], ["-i", "nowhere.yaml"]])
def test_the_inventory_is_named_alone_or_as_other_commands_have_it(capsys, words):
    assert invoke(["simulate", *words]) == 2
    assert capsys.readouterr().err == (
        "error: nowhere.yaml: there is no such file, expected an inventory\n"
        " hint: name another with --inventory PATH\n"
    )
