"""Rows: what ties an image to the disks it was made on."""

from imagebuild.seal.row import Row, Severity
from imagebuild.seal.rules import Absent, Hollow, Lines
from imagebuild.seal.special import IscsiInitiator, KnownDevices, NoSnapshots, NoSwap

ROWS = (
    Row(
        "iscsi-initiator",
        Severity.IDENTITY,
        "the name of the iSCSI initiator",
        "Targets give two initiators of one name the same session, and the same disk.",
        "iscsid(8), iscsi-iname(8); RFC 7143, 4.2.7",
        (IscsiInitiator(),),
    ),
    Row(
        "nvme-host",
        Severity.IDENTITY,
        "NVMe host name and id",
        "Subsystems tell hosts apart by them; reservations would be shared.",
        "nvme-gen-hostnqn(1); NVM Express base specification, 4.7 Host Identifier",
        (Absent("etc/nvme/hostnqn", "etc/nvme/hostid"),),
    ),
    Row(
        "multipath-bindings",
        Severity.IDENTITY,
        "names that multipath gave to disks",
        "Foreign disks get the builder's names.",
        "multipath.conf(5): bindings_file, wwids_file, prkeys_file",
        (
            Absent("etc/multipath/bindings", "etc/multipath/wwids", "etc/multipath/prkeys"),
            Hollow("var/lib/multipath"),
        ),
    ),
    Row(
        "lvm-devices",
        Severity.IDENTITY,
        "LVM's list of devices, archives and system id",
        "LVM sees only the listed disks, so a clone's volumes stay off.",
        "lvmdevices(8), lvmsystemid(7); virt-sysprep(1) lvm-system-devices",
        (
            Absent("etc/lvm/devices/*", "etc/lvm/archive/*", "etc/lvm/backup/*"),
            Absent("etc/lvm/cache/*", "etc/lvm/cache/.cache", "run/lvm/*"),
            Lines(("etc/lvm/lvmlocal.conf",), r"^[[:space:]]*system_id[[:space:]]*="),
        ),
    ),
    Row(
        "raid-arrays",
        Severity.IDENTITY,
        "software RAID arrays of the builder",
        "The initramfs waits for arrays that are not there.",
        "mdadm.conf(5)",
        (Lines(("etc/mdadm/mdadm.conf", "etc/mdadm.conf"), r"^ARRAY[[:space:]]"),),
    ),
    Row(
        "blkid-cache",
        Severity.LEFTOVER,
        "the cache of blkid",
        "It names devices of the builder.",
        "libblkid(3); virt-sysprep(1) blkid-tab",
        (
            Absent(
                "etc/blkid.tab*",
                "etc/blkid/blkid.tab*",
                "run/blkid/blkid.tab*",
                "var/run/blkid.tab*",
                "dev/.blkid.tab*",
            ),
        ),
    ),
    Row(
        "swap",
        Severity.SECRET,
        "swap files and partitions",
        "Swapped pages are memory of the builder, and waste room in every copy.",
        "mkswap(8); flavours and cloud-init give swap",
        (Absent("swapfile", "swap.img", "var/swap*", "swap/*"), NoSwap()),
        mend="Let cloud-init or the flavour give swap, and the image none.",
    ),
    Row(
        "file-systems",
        Severity.IDENTITY,
        "file systems known by UUID or label that are not in the image",
        "It boots only beside the disk of the builder. UUIDs of its own an image may keep: its "
        "boot loader and fstab name them, and no machine sees two copies.",
        "fstab(5); virt-sysprep(1) fs-uuids, which is off there for the same reason",
        (KnownDevices(),),
        mend="Write fstab and the boot loader's configuration anew with the image's own UUIDs.",
    ),
    Row(
        "snapshots",
        Severity.SECRET,
        "internal snapshots of the qcow2 file",
        "An older state of the disk, from before it was sealed, travels along.",
        "qemu-img(1) snapshot",
        (NoSnapshots(),),
        mend="qemu-img convert the image; the copy has no snapshots.",
    ),
)
