"""Our elements can be read alone, and their scripts stop at the first mistake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.layers import expanded
from imagebuild.plan import ELEMENTS, PACKAGE, Machine, Settings, plan_build
from imagebuild.recipes import load_recipe
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


def here(hook, root, programs):
    """A hook that works below `root` instead of /, with these programs of ours."""
    text = (ELEMENTS / hook).read_text(encoding="utf-8")
    for folder in ("/lib/modules", "/boot", "/etc", "/var"):
        (root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
        text = re.sub(rf"(?<![\w/}}]){folder}\b", str(root) + folder, text)
    script = root / "hook"
    script.write_text(text, encoding="utf-8")
    for name, body in programs.items():
        path = root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return script


def run_hook(script, **env):
    path = f"{script.parent}/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(script)],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def kernel(root, version="6.1.0-1"):
    (root / "lib/modules" / version).mkdir(parents=True)
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{version}").touch()


MODINFO = '[ "$*" = "-k 6.1.0-1 -F version {module}" ] && echo {version}'


@pytest.mark.parametrize(
    ("module", "version", "error"),
    [
        ("nvidia", "580.95.05", ""),
        ("nvidia-current", "580.65.06", ""),
        ("nvidia", "590.44.01", "is 590.44.01, expected branch 580"),
        ("other", "580.95.05", "there is no NVIDIA module for the kernel 6.1.0-1"),
    ],
)
def test_a_driver_image_has_the_module_of_its_branch(tmp_path, module, version, error):
    kernel(tmp_path)
    programs = {
        "modinfo": MODINFO.format(module=module, version=version),
        "systemctl": '[ "$*" = "enable nvidia-persistenced.service" ]',
    }
    hook = here("rackseed-gpu-driver/post-install.d/70-rackseed-nvidia-check", tmp_path, programs)
    done = run_hook(hook, RACKSEED_NVIDIA_BRANCH="580")
    assert (done.returncode == 0) is not error, done.stderr
    assert error in done.stderr


def test_a_driver_image_without_the_persistence_daemon_is_not_built(tmp_path):
    kernel(tmp_path)
    programs = {
        "modinfo": MODINFO.format(module="nvidia", version="580.95.05"),
        "systemctl": "echo no such unit >&2; exit 1",
    }
    hook = here("rackseed-gpu-driver/post-install.d/70-rackseed-nvidia-check", tmp_path, programs)
    done = run_hook(hook, RACKSEED_NVIDIA_BRANCH="580")
    assert done.returncode != 0
    assert "no such unit" in done.stderr


def test_debians_driver_gets_headers_of_this_kernel_and_of_the_next(tmp_path):
    kernel(tmp_path, "6.1.0-1-cloud-amd64")
    calls = tmp_path / "calls"
    names = "linux-image-6.1.0-1-cloud-amd64 linux-image-cloud-amd64"
    programs = {
        "apt-get": f'echo "$*" >> {calls}',
        "dpkg-query": f"printf '%s\\n' {names}",
        "dkms": f'echo "dkms $*" >> {calls}',
    }
    hook = here("rackseed-gpu-driver/install.d/60-rackseed-nvidia", tmp_path, programs)
    done = run_hook(hook, DISTRO_NAME="debian", RACKSEED_NVIDIA_BRANCH="535")
    assert done.returncode == 0, done.stderr
    said = calls.read_text(encoding="utf-8").splitlines()
    assert said[:2] == [
        "install --assume-yes linux-headers-6.1.0-1-cloud-amd64",
        "install --assume-yes linux-headers-cloud-amd64",
    ]
    assert said[-1] == "dkms autoinstall -k 6.1.0-1-cloud-amd64"
    listed = (tmp_path / "etc/modules-load.d/nvidia.conf").read_text(encoding="utf-8")
    assert all(line.startswith("#") for line in listed.splitlines())
    unit = tmp_path / "etc/systemd/system/nvidia-persistenced.service.d/rackseed.conf"
    assert "ExecCondition=" in unit.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("distro", "release", "hold"),
    [
        ("rocky", "9", "-y module enable nvidia-driver:580-open"),
        ("centos", "9-stream", "-y module enable nvidia-driver:580-open"),
        ("almalinux", "10", "-y versionlock *nvidia*580*"),
        ("fedora", "44", "-y versionlock add *nvidia*580*"),
    ],
)
def test_the_driver_branch_is_held_or_the_build_ends(tmp_path, distro, release, hold):
    kernel(tmp_path)
    calls = tmp_path / "calls"
    told = f'echo "$*" >> {calls}\n'
    ways = {"curl": "", "dkms": "", "dnf": told}
    script = "rackseed-gpu-driver/install.d/60-rackseed-nvidia"
    env = {"DISTRO_NAME": distro, "DIB_RELEASE": release, "RACKSEED_NVIDIA_BRANCH": "580"}
    assert run_hook(here(script, tmp_path, ways), **env).returncode == 0
    said = calls.read_text(encoding="utf-8").splitlines()
    driver = next(n for n, line in enumerate(said) if "kmod-nvidia" in line)
    assert said.index(hold) < driver
    ways["dnf"] = f'{told}[ "$*" != "{hold}" ]'
    assert run_hook(here(script, tmp_path, ways), **env).returncode != 0


def test_dkms_comes_from_epel():
    deps = (ELEMENTS / "rackseed-gpu-driver/element-deps").read_text(encoding="utf-8").split()
    assert "epel" in deps


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

[dib-mirror-appstream]
name=AppStream
baseurl=http://mirror.lan/el/$releasever/AppStream/$basearch/os/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-{key}

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


def test_the_container_toolkit_comes_from_nvidias_repository_with_its_key(tmp_path):
    hook = "rackseed-container-toolkit/install.d/65-rackseed-container-toolkit"
    calls = tmp_path / "calls"
    told = f'echo "$(basename "$0") $*" >> {calls}'
    programs = dict.fromkeys(("apt-get", "curl", "dnf"), told)
    for folder in ("etc/apt/sources.list.d", "etc/yum.repos.d"):
        (tmp_path / folder).mkdir(parents=True)
    place = {"DIB_NVIDIA_CONTAINER_MIRROR": "http://mirror.lan/n"}
    script = here(hook, tmp_path, programs)
    for distro in ("debian", "rocky"):
        done = run_hook(script, DISTRO_NAME=distro, **place)
        assert done.returncode == 0, done.stderr
    said = calls.read_text(encoding="utf-8").splitlines()
    order = [
        "curl -fsSL",
        "apt-get update",
        "apt-get install --assume-yes nvidia-container-toolkit",
    ]
    at = [next(n for n, line in enumerate(said) if line.startswith(word)) for word in order]
    assert at == sorted(at)
    assert said[-1] == "dnf -y install nvidia-container-toolkit"
    deb = tmp_path / "etc/apt/sources.list.d/nvidia-container-toolkit.list"
    assert "[signed-by=" in deb.read_text(encoding="utf-8")
    rpm = (tmp_path / "etc/yum.repos.d/nvidia-container-toolkit.repo").read_text(encoding="utf-8")
    assert "baseurl=http://mirror.lan/n/stable/rpm/x86_64" in rpm
    assert "repo_gpgcheck=1" in rpm


def test_a_recipe_may_add_the_container_toolkit_to_a_driver_image(tmp_path):
    path = tmp_path / "containers.yaml"
    path.write_text("extends: debian-12-gpu-driver\nelements: rackseed-container-toolkit\n")
    recipe = load_recipe(str(path))
    assert recipe.elements[-1] == "rackseed-container-toolkit"
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    found = expanded(plan_build(recipe, settings, Machine(Path("/venv/bin"))))
    assert "rackseed-container-toolkit" in dict(found)
