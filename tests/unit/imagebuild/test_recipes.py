"""Recipes are read whole, put together and refused with every problem."""

from pathlib import Path

import pytest

from imagebuild.errors import BadInput
from imagebuild.gpus import BRANCHES, GENERATIONS, generations
from imagebuild.layers import check_elements
from imagebuild.recipe import BlockDevice, Compression, GpuKind
from imagebuild.recipes import ALIASES, load_recipe, load_recipes, recipe_names
from imagebuild.show import gpu_lines

SHIPPED = (
    *("centos7", "centos-stream-9", "centos-stream-10", "rocky-9", "rocky-10", "alma-9", "alma-10"),
    *("fedora-42", "fedora-43", "fedora-44", "ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04"),
    *("debian-12", "debian-13"),
)


def written(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_is_promised_is_shipped():
    both = [name + end for name in SHIPPED for end in ("", "-gpu", "-gpu-driver")]
    assert sorted(recipe_names()) == sorted(both)


@pytest.mark.parametrize("name", [*recipe_names(), *ALIASES])
def test_every_recipe_of_ours_loads(name):
    recipe = load_recipe(name)
    assert recipe.properties["os_distro"]
    assert recipe.name == ALIASES.get(name, name)


@pytest.mark.parametrize("name", [name for name in recipe_names() if "-gpu" in name])
def test_a_gpu_variant_tells_nova_what_it_wants(name):
    recipe = load_recipe(name)
    kind = GpuKind.DRIVER if name.endswith("driver") else GpuKind.READY
    assert recipe.gpu is kind
    assert recipe.properties["hw_video_model"] == "qxl"
    assert recipe.properties["configure_x"] == "true"
    assert ("nvidia_gpus" in recipe.properties) is (kind is GpuKind.DRIVER)
    assert "modprobe.blacklist=nouveau" in recipe.kernel_arguments


def test_centos_7_drives_the_k20m_of_its_time():
    assert "Kepler" in load_recipe("centos7-gpu-driver").properties["nvidia_gpus"]
    assert load_recipe("centos7").block_device is BlockDevice.MBR


@pytest.mark.parametrize("name", ["ubuntu14.04", "ubuntu16.04", "ubuntu16.04.gpu"])
def test_what_is_built_no_more_says_why_and_what_instead(name):
    with pytest.raises(BadInput, match="cannot be built any more: its") as caught:
        load_recipe(name)
    assert "take ubuntu-22.04" in caught.value.__notes__[0]
    assert ("22.04-gpu" in caught.value.__notes__[0]) is name.endswith("gpu")


def test_an_unknown_recipe_is_told_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'rocky-9-gpu'"):
        load_recipe("rokcy-9-gpu")


def test_a_recipe_of_ones_own_extends_ours(tmp_path):
    text = """\
extends: debian-12
title: Web server
packages: [nginx, curl]
data_sources: NoCloud
compression: none
size: 10
properties: {os_admin_user: web}
"""
    recipe = load_recipe(written(tmp_path, text), ["jq"])
    assert recipe.name == "mine"
    assert recipe.packages == ("nginx", "curl", "jq")
    assert recipe.elements == load_recipe("debian-12").elements
    assert recipe.data_sources == ("NoCloud",)
    assert recipe.compression is Compression.NONE
    assert recipe.size == 10
    assert recipe.properties["os_admin_user"] == "web"
    assert recipe.properties["os_distro"] == "debian"


def test_a_recipe_extends_the_file_beside_it(tmp_path):
    written(tmp_path, "extends: fedora-43\npackages: a1\n", "base.yaml")
    recipe = load_recipe(written(tmp_path, "extends: base.yaml\npackages: b1\n"))
    assert recipe.packages == ("a1", "b1")


def test_a_ring_of_recipes_is_refused(tmp_path):
    written(tmp_path, "extends: mine.yaml\n", "other.yaml")
    with pytest.raises(BadInput, match="mine extends other extends mine"):
        load_recipe(written(tmp_path, "extends: other.yaml\n"))


def test_every_problem_is_told_with_its_line_and_key(tmp_path):
    text = """\
system: debain
title: x
releese: bookworm
elements: [debian, "a b"]
compression: lzma
size: 0
environment: {PATH: /evil}
kernel_arguments: ["quiet; reboot"]
"""
    path = written(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines == [
        f"{path}:1: release: missing, expected it, or `extends` and the name of a recipe",
        f"{path}:1: system: unknown value 'debain', did you mean 'debian'?",
        f"{path}:3: releese: unknown key 'releese', did you mean 'release'?",
        f"{path}:4: elements: found 'a b', expected names of elements",
        f"{path}:5: compression: unknown value 'lzma', expected one of zlib, zstd, none",
        f"{path}:6: size: found '0', expected a number of GiB from 1 to 2048",
        f"{path}:7: environment: found 'PATH', expected a name like DIB_RELEASE",
        f"{path}:8: kernel_arguments: found 'quiet; reboot', expected kernel arguments without "
        "blanks or quotes",
    ]


def test_what_is_no_recipe_is_told_in_one_sentence(tmp_path):
    path = tmp_path / "mine.yaml"
    for content, told in (
        (b"- debian\n", f"{path}:1: found a list, expected a mapping of keys"),
        (b"\xff\xfe", f"{path}: is not text in UTF-8, expected a recipe in YAML"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            load_recipe(str(path))
        assert str(caught.value) == told


def test_the_mistakes_of_all_recipes_are_told_at_once(tmp_path):
    mine = written(tmp_path, "extends: debian-12\nsize: 0\n")
    with pytest.raises(BadInput) as caught:
        load_recipes(["debain-12", "rocky-9", mine, "fedroa-44"])
    assert [line.split(",")[0] for line in str(caught.value).splitlines()] == [
        "unknown recipe 'debain-12'",
        f"{mine}:2: size: found '0'",
        "unknown recipe 'fedroa-44'",
    ]
    assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("package", ["-y", "a;b", "", "$(id)"])
def test_a_package_on_the_command_line_is_the_name_of_one(package):
    with pytest.raises(BadInput, match="--package"):
        load_recipe("debian-12", [package])


@pytest.mark.parametrize(
    ("branch", "drives", "not_"),
    [(390, "Fermi", "Turing"), (470, "Kepler", "Hopper"), (580, "Maxwell", "Kepler"),
     (590, "Turing", "Volta")],
)  # fmt: skip
def test_a_driver_branch_drives_its_generations(branch, drives, not_):
    assert drives in generations(branch, open_modules=False)
    assert not_ not in generations(branch, open_modules=False)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.endswith("driver")])
def test_open_kernel_modules_drive_turing_and_newer_alone(name):
    recipe = load_recipe(name)
    free = recipe.system.name not in ("debian", "centos7")
    drives = recipe.properties["nvidia_gpus"].split(", ")
    assert ("Volta" in drives) is not free
    assert "Turing" in drives
    *rows, modules, secure_boot = gpu_lines(recipe)
    assert [line.split(":")[0] for line in rows] == drives
    assert modules.startswith("(open" if free else "(proprietary")
    assert ("mok.pub" in secure_boot) is (recipe.system.name not in ("ubuntu", "centos7"))


def test_a_branch_without_open_modules_is_refused_where_they_are_installed(tmp_path):
    text = "extends: rocky-9-gpu-driver\nnvidia_branch: 470\n"
    with pytest.raises(BadInput, match=r"470 has no open kernel modules.* expected one of 535"):
        load_recipe(written(tmp_path, text))


def test_branches_name_known_generations_and_their_source():
    for branch in BRANCHES.values():
        assert {branch.oldest, branch.newest} <= set(GENERATIONS)
        assert branch.source


@pytest.mark.parametrize(
    ("extends", "sentence"),
    [
        ("debain-12", "unknown recipe 'debain-12', did you mean 'debian-12'?"),
        ("zzz", "unknown recipe 'zzz', expected one that is known"),
        ("ubuntu14.04", "ubuntu14.04 cannot be built any more: its packages"),
        ("absent.yaml", "absent.yaml is no file, expected a recipe"),
        ("mine.yaml", "mine extends mine, expected an end"),
    ],
)
def test_what_cannot_be_extended_is_told_with_file_and_line(tmp_path, extends, sentence):
    path = written(tmp_path, f"title: x\nextends: {extends}\n")
    with pytest.raises(BadInput) as caught:
        load_recipe(path)
    told = str(caught.value).replace(f"{tmp_path}/absent", "absent")
    assert told.startswith(f"{path}:2: extends: {sentence}")


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ("[vm,\n  cloud-innit]", ":3: elements: unknown element 'cloud-innit', did you mean "),
        ("qqqq", ":2: elements: unknown element 'qqqq', expected one that is known"),
        ("[fedora-minimal]", ":2: elements: operating-system: already provided by"),
    ],
)
def test_elements_that_cannot_be_resolved_are_told_with_file_and_line(tmp_path, elements, sentence):
    path = written(tmp_path, f"extends: debian-12\nelements: {elements}\n")
    with pytest.raises(BadInput) as caught:
        check_elements(load_recipe(path))
    assert str(caught.value).startswith(path + sentence)


def test_a_recipe_without_an_operating_system_is_refused(tmp_path):
    text = "title: x\nsystem: debian\nrelease: bookworm\nelements: vm\n"
    with pytest.raises(BadInput, match=r"mine\.yaml:4: elements: Please include an operating"):
        check_elements(load_recipe(written(tmp_path, text)))


def test_two_recipes_of_one_name_are_refused(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    paths = []
    for folder in (one, other):
        folder.mkdir()
        paths.append(written(folder, "extends: debian-12\n", "web.yaml"))
    with pytest.raises(BadInput, match=r"a/web\.yaml and .*b/web\.yaml are both named web"):
        load_recipes(paths)
    assert [one.name for one in load_recipes([paths[0], f"{one}/./web.yaml"])] == ["web"]
    assert [one.name for one in load_recipes(["fedora", "fedora-44"])] == ["fedora-44"]
    with pytest.raises(BadInput, match="both named debian-12"):
        load_recipes(["debian-12", written(tmp_path, "extends: debian-12\n", "debian-12.yaml")])
