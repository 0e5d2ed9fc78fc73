"""Ubuntu's keys where the machine has none: from the mirror, by a digest that is written down."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuild.layers import STOCK_ELEMENTS, digest_file
from imagebuild.plan import ELEMENTS
from tests.repository import serving
from tests.tools import require_root, require_tool

HOOK = ELEMENTS / "rackseed-ubuntu/root.d/05-rackseed-ubuntu-keyring"
KEYRING = "ubuntu-archive-keyring.gpg"


@dataclass
class Element:
    """The hook on a machine without Ubuntu's keys, its mirror, and what it left."""

    folder: Path
    address: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def package(self) -> Path:
        """Where the mirror has the package, under the name that the hook asks for."""
        (name,) = set(re.findall(r"ubuntu-keyring_\S+\.deb", HOOK.read_text(encoding="utf-8")))
        return self.folder / "mirror/pool/main/u/ubuntu-keyring" / name

    @property
    def kept(self) -> list[str]:
        return [path.name for path in (self.folder / "downloads").glob("*")]

    @property
    def keys(self) -> bytes | None:
        path = self.folder / "work" / KEYRING
        return path.read_bytes() if path.exists() else None

    def run(self, hook: Path = HOOK) -> subprocess.CompletedProcess[str]:
        alone = 'd=/usr/share/keyrings; [ ! -d $d ] || mount -t tmpfs none $d; exec bash "$0"'
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-euc", alone, str(hook)],
            env={"PATH": os.environ["PATH"], **self.env},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    require_root()
    require_tool("dpkg-deb", "dpkg")
    require_tool("curl", "curl")
    for name in ("work", "hooks", "mirror", "package/DEBIAN", "package/usr/share/keyrings"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "hooks/bin").symlink_to(STOCK_ELEMENTS / "cache-url/bin")
    with serving(tmp_path / "mirror") as address:
        made = Element(tmp_path, address)
        made.env = {
            "DIB_DISTRIBUTION_MIRROR": address,
            "DIB_IMAGE_CACHE": str(tmp_path / "downloads"),
            "TMP_DIR": str(tmp_path / "work"),
            "TMP_HOOKS_PATH": str(tmp_path / "hooks"),
        }
        made.package.parent.mkdir(parents=True)
        control = "Package: ubuntu-keyring\nVersion: 1\nArchitecture: all\nMaintainer: x\n"
        control += "Description: keys of a test\n"
        (tmp_path / "package/DEBIAN/control").write_text(control, encoding="utf-8")
        (tmp_path / "package/usr/share/keyrings" / KEYRING).write_bytes(b"keys")
        build = ["dpkg-deb", "--build", str(tmp_path / "package"), str(made.package)]
        subprocess.run(build, check=True, capture_output=True)
        yield made


def test_keys_that_nobody_wrote_down_are_refused_and_not_kept(element):
    done = element.run()
    assert done.returncode == 1
    assert f"ERROR: {element.address}/pool/main/u/ubuntu-keyring/" in done.stderr
    assert "is not what Ubuntu published (sha256 " in done.stderr
    assert element.kept == []
    assert element.keys is None


def test_keys_of_the_digest_are_fetched_once_and_checked_each_time(element):
    """The same hook with the digest of the test's own package."""
    text, count = re.subn(
        r"(?m)^( +digest=)\w{64}$", rf"\g<1>{digest_file(element.package)}", HOOK.read_text()
    )
    assert count == 1
    hook = element.folder / "hook"
    hook.write_text(text, encoding="utf-8")
    assert element.run(hook).returncode == 0
    assert element.keys == b"keys"
    (element.folder / "work" / KEYRING).unlink()
    element.package.rename(element.package.with_suffix(".gone"))
    done = element.run(hook)
    assert done.returncode == 0, done.stderr
    assert element.keys == b"keys"
    kept = element.folder / "downloads" / element.package.name
    kept.write_bytes(b"damaged")
    assert element.run(hook).returncode == 1
    assert not kept.exists()


def test_a_first_root_that_is_kept_asks_for_no_keys(element):
    element.env["RACKSEED_BASE_RESTORE"] = "/layer"
    assert element.run().returncode == 0
    assert (element.kept, element.keys) == ([], None)
