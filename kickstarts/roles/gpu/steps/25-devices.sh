# Each device that guests are to have is held by vfio-pci and by nobody else. The kernel was told
# on its command line; later kernels read it here, and their initial ramdisk with them.
# shellcheck shell=bash
ids=""
for gpu in $GPUS; do
    IFS=: read -r _ vendor product _ <<<"$gpu"
    ids="${ids:+$ids,}$vendor:$product"
done
write /etc/modprobe.d/openstack-node-gpu-devices.conf root:root 0644 <<END
options vfio-pci ids=$ids
softdep nouveau pre: vfio-pci
softdep nvidia pre: vfio-pci
softdep amdgpu pre: vfio-pci
softdep snd_hda_intel pre: vfio-pci
END
if [ -e "$STATE/$STEP.restart" ]; then
    dracut --force --regenerate-all
    rm "$STATE/$STEP.restart"
fi
for gpu in $GPUS; do
    IFS=: read -r alias vendor product type <<<"$gpu"
    found=0
    for device in /sys/bus/pci/devices/*; do
        [ "$(cat "$device/vendor"):$(cat "$device/device")" = "0x$vendor:0x$product" ] || continue
        found=$((found + 1))
        driver=$(basename "$(readlink "$device/driver" || echo none)")
        [ "$driver" = vfio-pci ] || fail "the device ${device##*/} ($alias) is held by $driver, expected vfio-pci"
        # Nova calls what could be divided a physical function, and finds it by that type alone.
        functions=$(cat "$device/sriov_totalvfs" 2>/dev/null || echo 0)
        case $type:$functions in
            type-PF:0) fail "the device ${device##*/} ($alias) has no SR-IOV: take sriov out of its entry in the inventory" ;;
            type-PF:* | type-PCI:0) ;;
            *) fail "the device ${device##*/} ($alias) has SR-IOV: add  sriov: true  to its entry in the inventory" ;;
        esac
    done
    [ "$found" -gt 0 ] || fail "no device $vendor:$product ($alias) is in this machine"
done
# Without an IOMMU a guest could write anywhere.
[ -n "$(ls /sys/class/iommu)" ] || fail 'no IOMMU: switch VT-d or AMD-Vi on in the firmware'
