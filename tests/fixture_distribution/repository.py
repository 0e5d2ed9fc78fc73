"""The repository around the packages: groups and metadata, the same bytes for the same input."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree


def comps(groups: Mapping[str, str]) -> str:
    """comps.xml with every member mandatory."""
    top = ElementTree.Element("comps")
    for name, members in groups.items():
        group = ElementTree.SubElement(top, "group")
        ElementTree.SubElement(group, "id").text = name
        ElementTree.SubElement(group, "name").text = f"fixture: {name}"
        ElementTree.SubElement(group, "description").text = "Made for tests."
        ElementTree.SubElement(group, "default").text = "false"
        ElementTree.SubElement(group, "uservisible").text = "true"
        packages = ElementTree.SubElement(group, "packagelist")
        for member in members.split():
            ElementTree.SubElement(packages, "packagereq", type="mandatory").text = member
    ElementTree.indent(top)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def index(folder: Path, groups: Mapping[str, str], epoch: int) -> None:
    """Write the metadata of the packages in `folder`."""
    listed = folder / "comps.xml"
    listed.write_text(comps(groups), encoding="utf-8")
    os.utime(listed, (epoch, epoch))
    argv = [
        "createrepo_c",
        "--quiet",
        "--no-database",
        "--workers=2",
        "--simple-md-filenames",
        f"--revision={epoch}",
        "--set-timestamp-to-revision",
        f"--groupfile={listed}",
        str(folder),
    ]
    subprocess.run(argv, check=True, capture_output=True)
