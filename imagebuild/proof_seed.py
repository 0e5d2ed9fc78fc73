"""The NoCloud seed by which a copy of an image is asked to prove itself."""

import json
from importlib.resources import files
from pathlib import Path

from imagebuild.running import Run

SIZE_KIB = 360
"""A floppy's size is enough, and every FAT driver reads it."""
LABEL = "CIDATA"
"""cloud-init documentation, NoCloud: the label of the file system."""
SCRIPT = "/run/rackseed-proof.sh"
"""On a tmpfs: the proof leaves nothing."""


def user_data() -> str:
    """What cloud-init does at the first boot. JSON is YAML, and needs no quoting rules."""
    script = (files("imagebuild") / "proof_guest.sh").read_text(encoding="utf-8")
    # The script waits for cloud-init's end, so cloud-init must not wait for the script.
    start = f"systemd-run --unit=rackseed-proof sh {SCRIPT}"
    config = {
        "write_files": [{"path": SCRIPT, "content": script, "permissions": "0755"}],
        "runcmd": [["sh", "-c", start]],
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def meta_data(name: str) -> str:
    """A new instance."""
    return json.dumps({"instance-id": name, "local-hostname": name}) + "\n"


def make_seed(path: Path, name: str, run: Run) -> Path:
    """Write a FAT image that cloud-init takes for its data source; mtools does it."""
    with path.open("wb") as file:
        file.truncate(SIZE_KIB << 10)
    run(["mformat", "-i", str(path), "-f", str(SIZE_KIB), "-v", LABEL, "::"])
    for file_name, text in (("user-data", user_data()), ("meta-data", meta_data(name))):
        source = path.with_suffix(f".{file_name}")
        source.write_text(text, encoding="utf-8")
        run(["mcopy", "-i", str(path), str(source), f"::/{file_name}"])
        source.unlink()
    return path
