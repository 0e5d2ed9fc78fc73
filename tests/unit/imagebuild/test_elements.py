"""Our elements can be read alone, and their scripts stop at the first mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.layers import expanded
from imagebuild.plan import ELEMENTS, PACKAGE, Machine, Settings, plan_build
from imagebuild.recipes import load_recipe
from tests.hooks import here, run_hook
from tests.tools import require_tool

FOLDERS = sorted(path for path in ELEMENTS.iterdir() if path.is_dir())
SCRIPTS = sorted(
    path
    for path in (*ELEMENTS.rglob("*"), *PACKAGE.glob("*.sh"), *PACKAGE.glob("programs/*"))
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/")
)


def test_there_are_elements_and_scripts():
    assert len(FOLDERS) > 8
    assert len(SCRIPTS) > 15


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_element_says_what_it_is_for(folder):
    title = (folder / "README.rst").read_text(encoding="utf-8").splitlines()[:3]
    assert title == ["=" * len(folder.name), folder.name, "=" * len(folder.name)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_hook_runs_and_stops_at_mistakes(script):
    text = script.read_text(encoding="utf-8")
    if script.parent.name.endswith(".d"):
        assert "set -eu" in text
        assert script.stat().st_mode & 0o111, "diskimage-builder leaves out what cannot run"
        assert "set -o pipefail" in text


def test_shellcheck_finds_nothing_in_our_scripts():
    tool = require_tool("shellcheck")
    done = subprocess.run(
        [str(tool), *map(str, SCRIPTS)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "fine"), [("drm/virtio.ko.xz", True), ("/nouveau.ko.xz", False)]
)
def test_every_initramfs_is_made_anew_without_nouveau(tmp_path, content, fine):
    calls = tmp_path / "calls"
    programs = {"dracut": f'echo "$*" > {calls}', "lsinitrd": f"echo usr/lib/{content}"}
    hook = here("rackseed-dracut/post-install.d/98-rackseed-dracut", tmp_path, programs)
    (tmp_path / "boot/initramfs-6.1.0-1.img").touch()
    (tmp_path / "etc/dracut.conf.d").mkdir()
    (tmp_path / "etc/dracut.conf.d/rackseed-nouveau.conf").touch()
    assert run_hook(hook, DISTRO_NAME="debian").returncode == 0
    assert not calls.exists()
    done = run_hook(hook, DISTRO_NAME="rocky")
    assert calls.read_text(encoding="utf-8") == "--force --regenerate-all\n"
    assert (done.returncode == 0) is fine
    assert ("nouveau is still in" in done.stderr) is not fine


@pytest.mark.parametrize("name", ["rocky-9-gpu", "fedora-44-gpu-driver", "centos7"])
def test_the_initramfs_of_an_rpm_system_is_made_last(name):
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    found = expanded(plan_build(load_recipe(name), settings, Machine(Path("/venv/bin"))))
    assert "rackseed-dracut" in dict(found)


@pytest.mark.parametrize(("name", "dhcp"), [("rocky-9", "dhcp-client"), ("alma-10", "dhcpcd")])
def test_packages_have_the_names_of_enterprise_linux(tmp_path, name, dhcp):
    recipe = load_recipe(name)
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    found = dict(expanded(plan_build(recipe, settings, Machine(Path("/venv/bin")))))
    hook = Path(found["rackseed-el"], "extra-data.d/11-rackseed-el-packages")
    script = here(hook, tmp_path, {"sudo": 'exec "$@"'})
    (tmp_path / "usr/share/pkg-map").mkdir(parents=True)
    env = {"DIB_RELEASE": recipe.release, "TMP_MOUNT_PATH": str(tmp_path)}
    assert run_hook(script, **env).returncode == 0
    done = subprocess.run(
        [
            *(sys.executable, f"{found['pkg-map']}/bin/pkg-map", "--missing-ok"),
            *("--pkg-map", str(tmp_path / "usr/share/pkg-map/yum-minimal")),
            *("--distro", "rocky", "--release", recipe.release),
            *("lsb_release", "dhcp-client", "kernel"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "redhat-lsb-core" not in done.stdout
    assert done.stdout.split()[-2:] == [dhcp, "kernel"]


MIRROR = """\
[dib-mirror-baseos]
name=BaseOS
baseurl=http://mirror.lan/el/$releasever/BaseOS/$basearch/os/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-{key}
enabled=1

[dib-mirror-appstream]
name=AppStream
baseurl=http://mirror.lan/el/$releasever/AppStream/$basearch/os/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-{key}
enabled=1

[extras]
name=extras
baseurl=http://mirror.lan/el/$releasever/extras/$basearch/os/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-{key}
enabled=0

[crb]
name=CRB
baseurl=http://mirror.lan/el/$releasever/CRB/$basearch/os/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-{key}
enabled=0

"""


@pytest.mark.parametrize(
    ("element", "release", "key"),
    [("rocky", "9", "Rocky-9"), ("alma", "10", "AlmaLinux-10"), ("rocky", "9.9", "Rocky-9")],
)
def test_packages_of_a_named_mirror_are_checked_by_the_distributions_key(
    tmp_path, element, release, key
):
    hook = ELEMENTS / "rackseed-el/root.d/07-rackseed-el-mirror"
    set_first = [ELEMENTS / f"rackseed-{element}/environment.d/10-rackseed-{element}.bash"]
    set_first.append(ELEMENTS / "rackseed-el/environment.d/15-rackseed-el-mirror.bash")
    script = tmp_path / "script"
    lines = [*(f". {path}" for path in set_first), str(hook), "env"]
    script.write_text("\n".join(lines), encoding="utf-8")
    env = {"DIB_RELEASE": release, "TMP_HOOKS_PATH": str(tmp_path)}
    assert "BOOTSTRAP_REPOS" not in run_hook(script, **env).stdout
    done = run_hook(script, DIB_DISTRIBUTION_MIRROR="http://mirror.lan/el", **env)
    assert f"DIB_YUM_MINIMAL_BOOTSTRAP_REPOS={tmp_path}/rackseed-mirror\n" in done.stdout
    (written,) = (tmp_path / "rackseed-mirror").iterdir()
    assert written.read_text(encoding="utf-8") == MIRROR.format(key=key)
    assert written.match("dib-mirror*.repo"), "yum-minimal removes no others in the end"
