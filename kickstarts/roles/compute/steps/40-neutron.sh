# The network of guests: OVN where its agent is installed, else Open vSwitch's agent.
# shellcheck shell=bash
write /etc/neutron/neutron.conf root:neutron 0640 <<END
[DEFAULT]
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/

[oslo_concurrency]
lock_path = /var/lib/neutron/tmp
END

if has_unit ovn-controller.service; then
    serve openvswitch.service
    # Where OVN's databases are, and the address that tunnels of other hosts find us by.
    ovs-vsctl set open_vswitch . \
        external-ids:ovn-remote="tcp:$CONTROLLER_ADDRESS:6642" \
        external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip="$ADDRESS" \
        external-ids:system-id="$HOST"
    serve ovn-controller.service
    if has_unit neutron-ovn-agent.service; then
        file=/etc/neutron/plugins/ml2/ovn_agent.ini unit=neutron-ovn-agent.service extensions='[agent]
extensions = metadata'
    else
        file=/etc/neutron/neutron_ovn_metadata_agent.ini unit=neutron-ovn-metadata-agent.service extensions=''
    fi
    write "$file" root:neutron 0640 <<END
[DEFAULT]
nova_metadata_host = $CONTROLLER
metadata_proxy_shared_secret = $METADATA_SECRET

[ovs]
ovsdb_connection = unix:/var/run/openvswitch/db.sock

[ovn]
ovn_sb_connection = tcp:$CONTROLLER_ADDRESS:6642

$extensions
END
    serve "$unit"
else
    write /etc/neutron/plugins/ml2/openvswitch_agent.ini root:neutron 0640 <<END
[ovs]
local_ip = $ADDRESS

[agent]
tunnel_types = geneve
l2_population = true

[securitygroup]
firewall_driver = openvswitch
END
    serve openvswitch.service neutron-openvswitch-agent.service
fi
