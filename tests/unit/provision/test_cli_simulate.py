"""`rackseed simulate` before it starts anything, and how it shows what happens."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from provision.cli.main import invoke
from provision.cli.simulate import watching
from provision.simulation.phases import Mark, Phase, Progress
from provision.simulation.rehearsal import Snapshot
from tests.unit.provision.simulation.test_view import OLD


@pytest.mark.parametrize("words", [["nowhere.yaml"], ["-i", "nowhere.yaml"]])
def test_the_inventory_is_named_alone_or_as_other_commands_have_it(capsys, words):
    assert invoke(["simulate", *words]) == 2
    assert capsys.readouterr().err == (
        "error: nowhere.yaml: there is no such file, expected an inventory\n"
        " hint: name another with --inventory PATH\n"
    )


@pytest.mark.parametrize(("terminal", "live"), [("xterm", True), ("dumb", False)])
def test_where_no_table_can_be_drawn_each_change_is_a_line(terminal, live):
    said = StringIO()
    people = Console(file=said, force_terminal=True, _environ={"TERM": terminal, "COLUMNS": "80"})
    now = datetime.now(UTC)
    with watching(people) as watch:
        watch(Snapshot(now, ((OLD, Progress((Mark(Phase.DHCP, now),))),)))
    assert ("firmware" in said.getvalue()) is live
    assert ("s  ctl01  dhcp\n" in said.getvalue()) is not live
