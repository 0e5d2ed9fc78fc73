"""Check the installed wheel from outside the tree: nothing forgotten, every command answers.

usage: python tests/package.py TREE      (run by `tox -e package`, in the wheel's environment)
"""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("kickstarts", "imagebuild", "pxe", "rpmspecs", "provision")


def missing_files(tree: Path) -> list[str]:
    """Files of the source packages that the installed ones lack or have otherwise."""
    found = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is not installed"
        assert spec.origin is not None
        installed = Path(spec.origin).parent
        assert installed != tree / package, f"{package} was taken from the tree"
        for source in (tree / package).rglob("*"):
            if source.is_dir() or "__pycache__" in source.parts:
                continue
            copy = installed / source.relative_to(tree / package)
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                found.append(str(source.relative_to(tree)))
    return found


def run(*argv: str) -> str:
    """Run one program of the environment; its output, or the end of this script."""
    script = Path(sys.executable).with_name(argv[0])
    result = subprocess.run(
        [str(script), *argv[1:]], capture_output=True, text=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "100"}, check=False,
    )  # fmt: skip
    if result.returncode:
        sys.exit(f"{' '.join(argv)}: exit status {result.returncode}\n{result.stderr}")
    return result.stdout


def commands(script: str) -> list[str]:
    """The names that a script's help lists as its commands."""
    found = []
    inside = False
    for line in run(script, "--help").splitlines():
        if line.startswith("Commands:"):
            inside = True
        elif inside and not line.strip():
            inside = False
        elif inside and line[2:3] != " ":
            found.append(line.split()[0])
    return found


def main() -> None:
    tree = Path(sys.argv[1]).resolve()
    if forgotten := missing_files(tree):
        sys.exit("the wheel lacks: " + ", ".join(forgotten))
    scripts = importlib.metadata.distribution("rackseed").entry_points.select(
        group="console_scripts"
    )
    count = 0
    for script in scripts:
        for command in commands(script.name):
            text = run(script.name, command, "--help")
            for part in ("Usage", "Example"):
                assert part in text, f"{script.name} {command} --help shows no {part}"
            count += 1
    assert count >= 8, f"only {count} commands were found"
    run("rackseed", "plan", "--armed", "--inventory", str(tree / "examples" / "rack.yaml"))
    print(f"{count} passed, 0 failed")


if __name__ == "__main__":
    main()
