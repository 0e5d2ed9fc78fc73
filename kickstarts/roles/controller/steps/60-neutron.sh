# Networks, by OVN where its databases are installed, else by Open vSwitch's agents.
# shellcheck shell=bash
router=ovn-router
has_unit ovn-northd.service || router=router
write /etc/neutron/neutron.conf root:neutron 0640 <<END
[DEFAULT]
bind_host = $ADDRESS
core_plugin = ml2
service_plugins = $router
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/
auth_strategy = keystone
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true

[database]
connection = mysql+pymysql://neutron:$NEUTRON_DB_PASSWORD@$CONTROLLER/neutron

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = neutron
password = $NEUTRON_PASSWORD

[nova]
region_name = $REGION
endpoint_type = internal
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = nova
password = $NOVA_PASSWORD

[oslo_concurrency]
lock_path = /var/lib/neutron/tmp

[oslo_middleware]
enable_proxy_headers_parsing = true
END

if has_unit ovn-northd.service; then
    bring_up openvswitch.service ovn-northd.service
    # The hosts of guests ask the southbound database; only this segment reaches it.
    ovn-nbctl set-connection "ptcp:6641:$ADDRESS"
    ovn-sbctl set-connection "ptcp:6642:$ADDRESS"
    drivers=ovn
else
    drivers=openvswitch,l2population
fi
{
    cat <<END
[ml2]
type_drivers = flat,vlan,geneve
tenant_network_types = geneve
mechanism_drivers = $drivers
extension_drivers = port_security
# What tunnels add.
overlay_ip_version = 4

[ml2_type_flat]
flat_networks = $PHYSICAL_NETWORK

[ml2_type_vlan]
network_vlan_ranges = $PHYSICAL_NETWORK

[ml2_type_geneve]
vni_ranges = 1:65536
max_header_size = 38

[securitygroup]
enable_security_group = true
END
    if [ "$drivers" = ovn ]; then
        cat <<END

[ovn]
ovn_nb_connection = tcp:$ADDRESS:6641
ovn_sb_connection = tcp:$ADDRESS:6642
ovn_metadata_enabled = true
END
    fi
} | write /etc/neutron/plugins/ml2/ml2_conf.ini root:neutron 0640
[ -e /etc/neutron/plugin.ini ] || ln -s plugins/ml2/ml2_conf.ini /etc/neutron/plugin.ini

migrate neutron -- as neutron neutron-db-manage --config-file /etc/neutron/neutron.conf \
    --config-file /etc/neutron/plugins/ml2/ml2_conf.ini upgrade head
server=neutron-server.service
has_unit "$server" || server=neutron-api.service
serve "$server"
wait_for 180 answers "http://$CONTROLLER:9696"
