"""Make the fixture distribution: a small RPM distribution cut from a Debian tree, for tests.

    python -m tests.fixture_distribution OUTPUT

writes OUTPUT/fixture and, for `rackseed rpm build --target`, OUTPUT/fixture-1.yaml. With
`--services` it also writes OUTPUT/fixture-extra, in which the database, the message queue and
the web server of a controller are real and run, and OUTPUT/fixture-openstack, whose packages
are names alone ("fixture: empty stand-in"), as are those of `extra.STAND_INS`. Needs root.

What runs on it is real: programs and libraries are Debian's own builds, moved unchanged into
packages that carry Fedora's names. So it proves that a spec builds, that its packages install,
start, upgrade and leave again, and that dnf, rpm, mock and our own code do their parts.

It proves nothing of Fedora or CentOS themselves: not that a package exists there or has the
version, the paths and the defaults that we count on; nothing of SELinux, dracut or kernels; and
only the packages named in `names.py` have Fedora's names, all others keep Debian's. Requires are
Debian's, maintainer scripts are not carried over (their results are), ELF files provide their
library names but require none, and manuals, translations and compiled Python are missing. Of
Fedora's configuration of a service there is as much as its own files in `files/extra` say. Units
of libvirt's daemons do nothing, and Open vSwitch has no kernel module: no packet goes through it.
"""

import argparse
from pathlib import Path

from tests.fixture_distribution.make import make_base, make_extra, make_openstack
from tests.fixture_distribution.target import write_target


def main() -> None:
    words = argparse.ArgumentParser(
        prog="python -m tests.fixture_distribution", description=(__doc__ or "").splitlines()[0]
    )
    words.add_argument("output", type=Path, help="a folder; its `fixture` must not exist")
    words.add_argument("--services", action="store_true", help="the other repositories too")
    given = words.parse_args()
    output = given.output
    made = {"fixture": output / "fixture"}
    make_base(made["fixture"])
    if given.services:
        made |= {name: output / name for name in ("fixture-extra", "fixture-openstack")}
        make_extra(made["fixture-extra"], made["fixture"])
        make_openstack(made["fixture-openstack"])
    write_target(output, made)


main()
