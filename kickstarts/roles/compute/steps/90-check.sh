# What the packages of this role expect of the host is there.
# shellcheck shell=bash
wait_for 120 systemctl is-active openstack-nova-compute.service
node-check || echo 'node-check names what is still missing; nothing of it stops guests'
