# Every service answers to one who asks as its users do.
# shellcheck shell=bash
# shellcheck disable=SC1091
. /root/openrc
for request in 'token issue' 'image list' 'network list' 'compute service list' 'volume service list'; do
    # shellcheck disable=SC2086 # words of a command
    wait_for 120 openstack $request
done
node-check || echo 'node-check names what is still missing; every service answers'
