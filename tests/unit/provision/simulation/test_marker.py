import struct
from pathlib import Path

from provision.simulation import marker


def test_the_boot_code_fits_and_finds_its_text() -> None:
    code = marker.boot_code()
    assert len(code) <= 440
    (text_address,) = struct.unpack_from("<H", code, code.index(0xBE) + 1)
    assert code[text_address - 0x7C00 :] == b"\r\nRACKSEED LOCAL DISK\r\n\0"


def test_the_boot_code_jumps_only_to_its_own_labels() -> None:
    code = marker.boot_code()
    jumps = {0x0C: 0x1F, 0x16: 0x13, 0x1D: 0x09, 0x27: 0x26}
    for place, label in jumps.items():
        (distance,) = struct.unpack_from("b", code, place + 1)
        assert place + 2 + distance == label


def test_the_boot_record_has_one_active_efi_partition() -> None:
    record = marker.boot_record(4321)
    assert len(record) == 512
    assert record[510:] == b"\x55\xaa"
    active, kind = record[446], record[450]
    start, sectors = struct.unpack_from("<II", record, 454)
    assert (active, kind) == (0x80, 0xEF)
    assert (start, sectors) == (marker.ESP_START, 4321)
    assert record[462:510] == bytes(48)


def test_the_same_programs_give_the_same_bytes(tmp_path: Path) -> None:
    shim, grub = tmp_path / "shim", tmp_path / "grub"
    shim.write_bytes(b"shim" * 1000)
    grub.write_bytes(b"grub" * 5000)
    images = [
        marker.build(shim, grub, tmp_path / name).read_bytes() for name in ("one.img", "two.img")
    ]
    assert images[0] == images[1]
    start, sectors = struct.unpack_from("<II", images[0], 454)
    assert (start + sectors) * 512 == len(images[0])
    assert images[0][start * 512 :].startswith(b"\xeb\x3c\x90RACKSEED")
    assert b"grub" * 5000 in images[0]
    assert images[0].count(marker.LINE.encode()) == 1 + len(marker.CONFIGURATION_FOLDERS)
