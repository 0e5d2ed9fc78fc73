"""The example inventory in the hands of GRUB's own parser, by the way `rackseed check` takes."""

from pathlib import Path

from provision.inventory.load import load
from provision.run import run
from provision.verify import grub_scripts, verify_grub
from tests.tools import require_tool

EXAMPLE = Path(__file__).parents[2] / "examples" / "rack.yaml"


def test_grub_takes_every_script_of_the_example():
    checker = require_tool("grub-script-check", package="grub-common")
    inventory = load(EXAMPLE)
    assert len(list(grub_scripts(inventory))) == 6
    assert verify_grub(inventory, run, str(checker)) == []


def test_a_script_that_grub_refuses_would_be_told(tmp_path):
    checker = require_tool("grub-script-check", package="grub-common")

    def spoil(argv: list[str]) -> str:
        path = Path(argv[1])
        path.write_text(path.read_text(encoding="utf-8") + "if true; then\n", encoding="utf-8")
        return run(argv)

    problem = verify_grub(load(EXAMPLE), spoil, str(checker))[0]
    assert "GRUB does not take its boot script: " in problem.message
    assert "syntax error" in problem.message
