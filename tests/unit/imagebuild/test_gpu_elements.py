"""The hooks that put NVIDIA's driver and container toolkit into an image."""

from pathlib import Path

import pytest

from imagebuild.layers import expanded
from imagebuild.plan import ELEMENTS, Machine, Settings, plan_build
from imagebuild.recipes import load_recipe
from tests.hooks import here, run_hook


def kernel(root, version="6.1.0-1"):
    (root / "lib/modules" / version).mkdir(parents=True)
    (root / "boot").mkdir(exist_ok=True)
    (root / "boot" / f"vmlinuz-{version}").touch()


SYSTEMD = '[ "$*" != --version ] || {{ echo "systemd {}"; exit; }}\n'
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
        "systemctl": f'{SYSTEMD.format(252)}[ "$*" = "enable nvidia-persistenced.service" ]',
    }
    hook = here("rackseed-gpu-driver/post-install.d/70-rackseed-nvidia-check", tmp_path, programs)
    done = run_hook(hook, RACKSEED_NVIDIA_BRANCH="580")
    assert (done.returncode == 0) is not error, done.stderr
    assert error in done.stderr


def test_a_driver_image_without_the_persistence_daemon_is_not_built(tmp_path):
    kernel(tmp_path)
    programs = {
        "modinfo": MODINFO.format(module="nvidia", version="580.95.05"),
        "systemctl": f"{SYSTEMD.format(252)}echo no such unit >&2; exit 1",
    }
    hook = here("rackseed-gpu-driver/post-install.d/70-rackseed-nvidia-check", tmp_path, programs)
    done = run_hook(hook, RACKSEED_NVIDIA_BRANCH="580")
    assert done.returncode != 0
    assert "no such unit" in done.stderr


@pytest.mark.parametrize("there", [True, False])
def test_udev_starts_the_daemon_where_systemd_is_old(tmp_path, there):
    kernel(tmp_path)
    programs = {
        "modinfo": MODINFO.format(module="nvidia", version="470.256.02"),
        "systemctl": f"{SYSTEMD.format(219)}exit 1",
        **({"nvidia-persistenced": ""} if there else {}),
    }
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    hook = here("rackseed-gpu-driver/post-install.d/70-rackseed-nvidia-check", tmp_path, programs)
    done = run_hook(hook, RACKSEED_NVIDIA_BRANCH="470")
    assert (done.returncode == 0) is there, done.stderr
    rule = (tmp_path / "etc/udev/rules.d/71-rackseed-nvidia.rules").read_text(encoding="utf-8")
    assert rule == (
        'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", '
        'RUN+="/usr/bin/systemctl start --no-block nvidia-persistenced.service"\n'
    )


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


def test_what_epel_needs_of_others_may_be_in_crb(tmp_path):
    kernel(tmp_path)
    calls = tmp_path / "calls"
    programs = {"curl": "", "dkms": "", "dnf": f'echo "$*" >> {calls}'}
    env = {"DISTRO_NAME": "rocky", "DIB_RELEASE": "9", "RACKSEED_NVIDIA_BRANCH": "580"}
    script = here("rackseed-gpu-driver/install.d/60-rackseed-nvidia", tmp_path, programs)
    assert run_hook(script, **env).returncode == 0
    driver = next(line for line in calls.read_text().splitlines() if "kmod-nvidia" in line)
    assert "--enablerepo=crb" in driver.split()


def test_a_named_mirror_gives_the_release_package_of_epel(tmp_path):
    script = here("rackseed-gpu-driver/pre-install.d/04-rackseed-extras", tmp_path, {})
    assert run_hook(script).returncode == 0, "public repositories have their extras on"
    mirror = tmp_path / "etc/yum.repos.d/dib-mirror.repo"
    mirror.parent.mkdir()
    text = "[dib-mirror-baseos]\nenabled=1\n\n[extras]\nenabled={}\n\n[crb]\nenabled=0\n\n"
    mirror.write_text(text.format(0), encoding="utf-8")
    assert run_hook(script).returncode == 0
    assert mirror.read_text(encoding="utf-8") == text.format(1)


def test_debians_branch_for_kepler_has_its_daemon_too(tmp_path):
    kernel(tmp_path)
    calls = tmp_path / "calls"
    programs = {"apt-get": f'echo "$*" >> {calls}', "dpkg-query": "", "dkms": ""}
    script = here("rackseed-gpu-driver/install.d/60-rackseed-nvidia", tmp_path, programs)
    done = run_hook(script, DISTRO_NAME="debian", RACKSEED_NVIDIA_BRANCH="470")
    assert done.returncode == 0, done.stderr
    driver = next(line.split() for line in calls.read_text().splitlines() if "470" in line)
    assert {"nvidia-tesla-470-kernel-dkms", "libnvidia-tesla-470-cfg1"} < set(driver)
    assert "nvidia-persistenced" in driver


@pytest.mark.parametrize(
    ("hook", "env", "url"),
    [
        (
            "rackseed-gpu-driver/install.d/60-rackseed-nvidia",
            {"DISTRO_NAME": "fedora", "DIB_RELEASE": "99"},
            "https://developer.download.nvidia.com/compute/cuda/repos/fedora99/x86_64/"
            "cuda-fedora99.repo",
        ),
        (
            "rackseed-container-toolkit/install.d/65-rackseed-container-toolkit",
            {"DISTRO_NAME": "debian", "DIB_NVIDIA_CONTAINER_MIRROR": "http://mirror.lan/n"},
            "http://mirror.lan/n/gpgkey",
        ),
    ],
)
def test_a_repository_of_nvidias_that_does_not_answer_is_named(tmp_path, hook, env, url):
    kernel(tmp_path)
    script = here(hook, tmp_path, {"curl": "exit 22", "apt-get": "", "dnf": ""})
    done = run_hook(script, RACKSEED_NVIDIA_BRANCH="580", **env)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert done.stderr.endswith(f": {url}\n")


EPEL = """\
[epel]
#baseurl=http://download.fedoraproject.org/pub/epel/7/$basearch
metalink=https://mirrors.fedoraproject.org/metalink?repo=epel-7&arch=$basearch
enabled=1
"""


def test_the_epel_of_centos_7_is_asked_for_where_it_lies_now(tmp_path):
    """By diskimage-builder's own element, which knows the mirrors alone."""
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    plan = plan_build(load_recipe("centos7-gpu-driver"), settings, Machine(Path("/venv/bin")))
    hook = Path(dict(expanded(plan))["epel"], "pre-install.d/05-rpm-epel-release")
    script = here(hook, tmp_path, {"yum": '[ "$*" = "install -y epel-release" ]'})
    (tmp_path / "etc/yum.repos.d").mkdir()
    written = tmp_path / "etc/yum.repos.d/epel.repo"
    written.write_text(EPEL, encoding="utf-8")
    environment = ELEMENTS / "rackseed-centos7/environment.d/10-rackseed-centos7.bash"
    both = tmp_path / "both"
    both.write_text(f". {environment}\n. {script}\n", encoding="utf-8")
    done = run_hook(both)
    assert done.returncode == 0, done.stderr
    text = written.read_text(encoding="utf-8")
    place = "https://archives.fedoraproject.org/pub/archive/epel/7/$basearch"
    assert f"\nbaseurl={place}\n" in text
    assert "metalink" not in text


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


@pytest.mark.parametrize(
    ("engines", "configured"),
    [
        ((), []),
        (("dockerd", "containerd"), ["docker"]),
        (("containerd",), ["containerd"]),
        (("crio",), ["crio"]),
    ],
)
def test_the_engines_of_an_image_know_the_container_toolkit(tmp_path, engines, configured):
    hook = "rackseed-container-toolkit/install.d/65-rackseed-container-toolkit"
    calls = tmp_path / "calls"
    calls.touch()
    programs = dict.fromkeys(("dnf", *engines), "")
    programs["nvidia-ctk"] = f'echo "$*" >> {calls}'
    (tmp_path / "etc/yum.repos.d").mkdir(parents=True)
    done = run_hook(here(hook, tmp_path, programs), DISTRO_NAME="rocky")
    assert done.returncode == 0, done.stderr
    said = calls.read_text(encoding="utf-8").splitlines()
    assert said == [f"runtime configure --runtime={name}" for name in configured]
    unit = tmp_path / "etc/systemd/system/nvidia-cdi-refresh.service.d/rackseed.conf"
    assert "ExecCondition=" in unit.read_text(encoding="utf-8")


def test_a_recipe_may_add_the_container_toolkit_to_a_driver_image(tmp_path):
    path = tmp_path / "containers.yaml"
    path.write_text("extends: debian-12-gpu-driver\nelements: rackseed-container-toolkit\n")
    recipe = load_recipe(str(path))
    assert recipe.elements[-1] == "rackseed-container-toolkit"
    settings = Settings(Path("/i"), Path("/c"), Path("/w"))
    found = expanded(plan_build(recipe, settings, Machine(Path("/venv/bin"))))
    assert "rackseed-container-toolkit" in dict(found)
