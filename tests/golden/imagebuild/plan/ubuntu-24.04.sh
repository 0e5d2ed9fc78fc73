export DEBIAN_FRONTEND=noninteractive
export DIB_APT_LOCAL_CACHE=0
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
export DIB_AVOID_PACKAGES_UPDATE=1
export DIB_BLOCK_DEVICE_CONFIG='- local_loop:
    name: image0
- partitioning:
    base: image0
    label: gpt
    partitions:
      - name: ESP
        type: '"'"'EF00'"'"'
        size: 128MiB
        mkfs:
          type: vfat
          opts: "-F 32"
          mount:
            mount_point: /boot/efi
            fstab:
              options: "umask=0077"
              fsck-passno: 2
      - name: BSP
        type: '"'"'EF02'"'"'
        size: 2MiB
      - name: root
        type: '"'"'8300'"'"'
        size: 100%
        mkfs:
          type: ext4
          mount:
            mount_point: /
            fstab:
              options: "defaults"
              fsck-passno: 1
'
export DIB_BOOTLOADER_DEFAULT_CMDLINE=net.ifnames=1
export DIB_CLOUD_INIT_DATASOURCES='ConfigDrive, OpenStack, NoCloud'
export DIB_GRUB_TIMEOUT=1
export DIB_IMAGE_CACHE=/cache/downloads
export DIB_LOCKFILES=/cache/locks
export DIB_NO_TIMER_CHECK=False
export DIB_PYTHON_EXEC=/venv/bin/python
export DIB_RELEASE=noble
export ELEMENTS_PATH=/imagebuild/elements
export HOME=/build/home
export LANG=C.UTF-8
export PATH=/imagebuild/programs:/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export RACKSEED_PUBLIC_MIRROR=http://mirror.example.org/ubuntu
export RACKSEED_PUBLIC_SECURITY_MIRROR=http://mirror.example.org/ubuntu
export TERM=dumb
export TMPDIR=/build
export TMP_DIR=/build
export USER=root
/venv/bin/disk-image-create -n -a amd64 -t raw -o /build/ubuntu-24.04 --no-tmpfs --root-label cloudimg-rootfs --mkfs-options '-O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum' vm block-device-efi cloud-init-datasources ubuntu-minimal cloud-init openssh-server rackseed-ubuntu rackseed-deb rackseed-layers rackseed-seal
echo 'rackseed: the disk is packed'
qemu-img convert -m 16 -W -f raw -O qcow2 -c -o compression_type=zstd /build/ubuntu-24.04.raw /images/.ubuntu-24.04.qcow2.partial
