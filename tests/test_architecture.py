"""The shape of the tree: imports point down, effects have one place each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent

MAY_IMPORT = {
    "kickstarts": set(),
    "imagebuild": set(),
    "pxe": set(),
    "rpmspecs": set(),
    "provision": {"kickstarts", "imagebuild", "pxe", "rpmspecs"},
}
"""Four libraries that know nothing of each other, and one program above them."""

OUTER_RINGS = ("provision.cli",)
"""What nothing below may import."""

STARTS_PROGRAMS = {"provision/run.py"}
HAS_PROCESSES = {"pxe/supervise.py"}
"""Our own code in processes of its own; no other program is started."""

PRINTS = "provision/cli/"

CARRIED = ("rpmspecs/services/", "rpmspecs/specs/")
"""What source packages carry: run by rpmbuild, in the build root, not by this program."""

MODULES = sorted(
    path.relative_to(TOP)
    for package in MAY_IMPORT
    for path in TOP.glob(f"{package}/**/*.py")
    if not str(path.relative_to(TOP)).startswith(CARRIED)
)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def parsed(path: Path) -> ast.Module:
    return ast.parse((TOP / path).read_text(encoding="utf-8"))


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_there_are_modules_of_every_package():
    assert {path.parts[0] for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path):
    own = path.parts[0]
    for line, name in imports(path):
        package = name.partition(".")[0]
        if package in MAY_IMPORT and package != own:
            assert package in MAY_IMPORT[own], f"{path}:{line}: {own} imports {package}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parts[:2] != ("provision", "cli")], ids=str
)
def test_only_commands_know_commands(path):
    for line, name in imports(path):
        for ring in OUTER_RINGS:
            assert not is_below(name, ring), f"{path}:{line}: imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_programs_are_started_in_one_place(path):
    if str(path) in STARTS_PROGRAMS:
        return
    for line, name in imports(path):
        assert not is_below(name, "subprocess"), f"{path}:{line}: imports subprocess"
    starters = ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "pty.spawn")
    for line, name in calls(path):
        short = name.rpartition(".")[2]
        found = name.startswith(starters) or short.startswith("create_subprocess_")
        assert not found, f"{path}:{line}: starts a program by {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_our_own_processes_are_made_in_one_place(path):
    if str(path) in HAS_PROCESSES:
        return
    for line, name in imports(path):
        assert not is_below(name, "multiprocessing"), f"{path}:{line}: imports {name}"
    for line, name in calls(path):
        assert name not in ("os.fork", "os.forkpty", "pty.fork"), f"{path}:{line}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_commands_print(path):
    if str(path).startswith(PRINTS):
        return
    for line, name in calls(path):
        assert name not in ("print", "sys.stdout.write", "sys.stderr.write"), f"{path}:{line}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_yaml_is_never_turned_into_objects(path):
    for line, name in calls(path):
        short = name.rpartition("yaml.")[2]
        loads = "yaml." in name and short.startswith(("load", "safe_load", "full_load", "unsafe"))
        assert not loads, f"{path}:{line}: {name}"


def test_every_module_says_what_it_is_for():
    silent = [str(path) for path in MODULES if not ast.get_docstring(parsed(path))]
    assert [path for path in silent if not path.endswith("__init__.py")] == []
