export DIB_BLOCK_DEVICE_CONFIG='- local_loop:
    name: image0
- partitioning:
    base: image0
    label: mbr
    partitions:
      - name: root
        flags: [ boot, primary ]
        size: 100%
        mkfs:
          type: ext4
          mount:
            mount_point: /
            fstab:
              options: "defaults"
              fsck-passno: 1
'
export DIB_BOOTLOADER_DEFAULT_CMDLINE='rd.driver.blacklist=nouveau modprobe.blacklist=nouveau nouveau.modeset=0'
export DIB_CLOUD_INIT_DATASOURCES='ConfigDrive, OpenStack, NoCloud'
export DIB_GRUB_TIMEOUT=1
export DIB_IMAGE_CACHE=/cache/downloads
export DIB_LOCKFILES=/cache/locks
export DIB_NO_TIMER_CHECK=False
export DIB_PYTHON_EXEC=/venv/bin/python
export DIB_RELEASE=7
export DIB_YUM_MINIMAL_CREATE_INTERFACES=0
export ELEMENTS_PATH=/imagebuild/elements
export HOME=/build/home
export LANG=C.UTF-8
export PATH=/imagebuild/programs:/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export RACKSEED_BASE_SHA256=e38bab0475cc6d004d2e17015969c659e5a308111851b0e2715e84646035bdd3
export RACKSEED_BASE_URL=https://cloud.centos.org/centos/7/images/CentOS-7-x86_64-GenericCloud-2009.qcow2
export RACKSEED_NVIDIA_BRANCH=470
export TERM=dumb
export TMPDIR=/build
export TMP_DIR=/build
export USER=root
/venv/bin/disk-image-create -n -a amd64 -t raw -o /build/centos7-gpu-driver --no-tmpfs --root-label cloudimg-rootfs --mkfs-options '-O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,extra_isize' vm block-device-mbr cloud-init-datasources rackseed-centos7 openssh-server rackseed-gpu-ready rackseed-gpu-driver rackseed-layers rackseed-seal
echo 'rackseed: the disk is packed'
qemu-img convert -m 16 -W -f raw -O qcow2 -c -o compression_type=zlib /build/centos7-gpu-driver.raw /images/.centos7-gpu-driver.qcow2.partial
