# The network of guests: OVN where its agent is installed, else Open vSwitch's agent.
# shellcheck shell=bash
write /etc/neutron/neutron.conf root:neutron 0640 <<END
[DEFAULT]
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/

[oslo_concurrency]
lock_path = /var/lib/neutron/tmp
END

if has_unit ovn-controller.service; then
    bring_up openvswitch.service
    # The database's socket is root's alone; Neutron's agent, which is not root, comes by this port.
    manager=ptcp:6640:127.0.0.1
    [ "$(ovs-vsctl get-manager)" = "$manager" ] || ovs-vsctl set-manager "$manager"
    # Where OVN's databases are, and the address that tunnels of other hosts find us by.
    ovs-vsctl set open_vswitch . \
        external-ids:ovn-remote="tcp:$CONTROLLER_ADDRESS:6642" \
        external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip="$ADDRESS" \
        external-ids:system-id="$HOST"
    bring_up ovn-controller.service
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
ovsdb_connection = tcp:127.0.0.1:6640

[ovn]
ovn_sb_connection = tcp:$CONTROLLER_ADDRESS:6642

$extensions
END
    serve "$unit"
    # Its process stays when it finds no database. Neutron knows the agent by what it writes here.
    known() {
        ovn-sbctl --db="tcp:$CONTROLLER_ADDRESS:6642" get Chassis_Private "$HOST" external_ids |
            grep --quiet neutron:ovn-metadata-id
    }
    wait_for 120 known
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
    bring_up openvswitch.service
    serve neutron-openvswitch-agent.service
fi
