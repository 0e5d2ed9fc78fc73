"""Make the fixture distribution: a small RPM distribution cut from a Debian tree, for tests.

    python -m tests.fixture_distribution OUTPUT

writes OUTPUT/fixture and, for `rackseed rpm build --target`, OUTPUT/fixture-1.yaml. Needs root.

What runs on it is real: programs and libraries are Debian's own builds, moved unchanged into
packages that carry Fedora's names. So it proves that a spec builds, that its packages install,
start, upgrade and leave again, and that dnf, rpm, mock and our own code do their parts.

It proves nothing of Fedora or CentOS themselves: not that a package exists there or has the
version, the paths and the defaults that we count on; nothing of SELinux, dracut or kernels; and
only the packages named in `names.py` have Fedora's names, all others keep Debian's. Requires are
Debian's, maintainer scripts are not carried over (their results are), ELF files provide their
library names but require none, and files of translations and documentation are missing.
"""

import argparse
from pathlib import Path

from tests.fixture_distribution.make import make_base
from tests.fixture_distribution.target import write_target


def main() -> None:
    words = argparse.ArgumentParser(
        prog="python -m tests.fixture_distribution", description=(__doc__ or "").splitlines()[0]
    )
    words.add_argument("output", type=Path, help="a folder; its `fixture` must not exist")
    output = words.parse_args().output
    make_base(output / "fixture")
    write_target(output, {"fixture": output / "fixture"})


main()
