import pytest

from rpmspecs.buildlog import MOST, failing_lines

HEAD = """\
Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.PLIZff
+ umask 022
+ cd /builddir/build/BUILD
"""
END = """\
error: Bad exit status from /var/tmp/rpm-tmp.PLIZff (%build)

RPM build errors:
    Bad exit status from /var/tmp/rpm-tmp.PLIZff (%build)
"""
BAD = "error: Bad exit status from /var/tmp/rpm-tmp.PLIZff (%build)"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(
            HEAD
            + "+ echo hello\nhello\n+ ls /none\nls: cannot access '/none': No such file\n"
            + END,
            ["+ ls /none", "ls: cannot access '/none': No such file", BAD],
            id="command",
        ),
        pytest.param(
            HEAD
            + "+ gcc a.c -o a\na.c:1:10: fatal error: nothere.h: No such file or directory\n"
            + "    1 | #include <nothere.h>\ncompilation terminated.\n"
            + END,
            [
                "+ gcc a.c -o a",
                "a.c:1:10: fatal error: nothere.h: No such file or directory",
                "    1 | #include <nothere.h>",
                "compilation terminated.",
                BAD,
            ],
            id="compiler",
        ),
        pytest.param(
            HEAD + "+ cmake .\n/var/tmp/rpm-tmp.PLIZff: 28: cmake: not found\n" + END,
            ["+ cmake .", "/var/tmp/rpm-tmp.PLIZff: 28: cmake: not found", BAD],
            id="no such command",
        ),
        pytest.param(
            "Wrote: /builddir/build/SRPMS/a-1-1.src.rpm\n\nRPM build warnings:\n"
            "    source_date_epoch_from_changelog set but %changelog is missing\n"
            "Building for target x86_64\n" + HEAD + "+ ./configure\nno compiler\n\n"
            "RPM build warnings:\n    once more\n" + END,
            ["+ ./configure", "no compiler", BAD],
            id="warnings of a run before",
        ),
        pytest.param(
            "Checking for unpackaged file(s): /usr/lib/rpm/check-files /b\n"
            "error: Installed (but unpackaged) file(s) found:\n   /usr/share/x/a\n"
            "   /usr/share/x/b\n\nRPM build errors:\n    Installed (but unpackaged) file(s) found:"
            "\n   /usr/share/x/a\n   /usr/share/x/b\n",
            [
                "error: Installed (but unpackaged) file(s) found:",
                "   /usr/share/x/a",
                "   /usr/share/x/b",
            ],
            id="unpackaged files",
        ),
        pytest.param(
            "Processing files: x-1-1.noarch\nerror: File not found: /b/usr/share/doc/none\n\n"
            "RPM build errors:\n    File not found: /b/usr/share/doc/none\n",
            ["error: File not found: /b/usr/share/doc/none"],
            id="missing file",
        ),
        pytest.param(
            "error: line 7: Unknown tag: Colour: red\n",
            ["error: line 7: Unknown tag: Colour: red"],
            id="syntax",
        ),
        pytest.param(
            "error: Failed build dependencies:\n\tcmake is needed by x-1-1.noarch\n",
            ["error: Failed build dependencies:", "\tcmake is needed by x-1-1.noarch"],
            id="build requirements",
        ),
        pytest.param(
            "Last metadata expiration check: 0:00:01 ago\nNo matching package to install: 'nope'\n"
            "Not all dependencies satisfied\nError: Some packages could not be found.\n",
            [
                "No matching package to install: 'nope'",
                "Not all dependencies satisfied",
                "Error: Some packages could not be found.",
            ],
            id="dnf builddep",
        ),
        pytest.param(
            "Error: \n Problem: package a-1-1.noarch requires b >= 2, but none of the providers\n"
            "  - nothing provides b >= 2 needed by a-1-1.noarch from local\n(try to add)\n",
            [
                " Problem: package a-1-1.noarch requires b >= 2, but none of the providers",
                "  - nothing provides b >= 2 needed by a-1-1.noarch from local",
            ],
            id="solver",
        ),
        pytest.param("it\nsaid\nlittle\n", ["it", "said", "little"], id="nothing known"),
        pytest.param("", [], id="empty"),
    ],
)
def test_the_lines_that_matter(log, expected):
    assert list(failing_lines(log)) == expected


def test_an_error_long_before_the_end_is_kept_beside_the_last_lines():
    noise = "".join(f"gcc -c file{n}.c\n" for n in range(200))
    log = f"{HEAD}+ make -j8\nb.c:3:1: error: unknown type name 'x'\n{noise}{END}"
    found = failing_lines(log)
    assert found[:2] == ("+ make -j8", "b.c:3:1: error: unknown type name 'x'")
    assert found[-2:] == ("gcc -c file199.c", BAD)


def test_many_errors_are_cut_in_the_middle():
    errors = "".join(f"b.c:{n}:1: error: number {n}\n" for n in range(100))
    found = failing_lines(f"{HEAD}+ gcc b.c\n{errors}{END}")
    assert len(found) == MOST
    assert found[1] == "b.c:0:1: error: number 0"
    assert found[-1] == BAD


def test_an_error_that_mock_tore_from_its_line_is_found():
    text = (
        "error: Building target platforms: x86_64\n"
        "Building for target x86_64\n"
        "line 10: Unknown tag: Nonsense: 1\n"
        "Child return code was: 1\n"
    )
    assert "line 10: Unknown tag: Nonsense: 1" in failing_lines(text)
