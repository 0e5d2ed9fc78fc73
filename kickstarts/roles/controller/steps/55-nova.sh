# Guests: the services that decide; those that run guests are on other hosts, and are found by the
# scheduler within five minutes after they come.
# shellcheck shell=bash
database=mysql+pymysql://nova:$NOVA_DB_PASSWORD@$CONTROLLER
{
    cat <<END
[DEFAULT]
my_ip = $ADDRESS
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/
enabled_apis = osapi_compute,metadata
# Consoles of guests stand in pages that came by TLS.
ssl_only = true
cert = /etc/pki/rackseed/controller.crt
key = /etc/pki/rackseed/controller.key

[api]
auth_strategy = keystone

[api_database]
connection = $database/nova_api

[database]
connection = $database/nova

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = nova
password = $NOVA_PASSWORD

[service_user]
send_service_user_token = true
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = nova
password = $NOVA_PASSWORD

[placement]
region_name = $REGION
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = placement
password = $PLACEMENT_PASSWORD

[neutron]
region_name = $REGION
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = neutron
password = $NEUTRON_PASSWORD
service_metadata_proxy = true
metadata_proxy_shared_secret = $METADATA_SECRET

[cinder]
os_region_name = $REGION
catalog_info = volumev3::internalURL
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = cinder
password = $CINDER_PASSWORD

[glance]
api_servers = http://$CONTROLLER:9292

[vnc]
server_listen = $ADDRESS
server_proxyclient_address = $ADDRESS
novncproxy_host = $ADDRESS

[scheduler]
discover_hosts_in_cells_interval = 300

[oslo_concurrency]
lock_path = /var/lib/nova/tmp

[oslo_middleware]
enable_proxy_headers_parsing = true
END
    if [ -n "$GPUS" ]; then
        cat <<'END'

[filter_scheduler]
# The usual ones, and the one that counts devices.
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,PciPassthroughFilter

[pci]
END
        for gpu in $GPUS; do
            IFS=: read -r alias vendor product type <<<"$gpu"
            echo "alias = {\"vendor_id\": \"$vendor\", \"product_id\": \"$product\", \"device_type\": \"$type\", \"name\": \"$alias\"}"
        done
    fi
} | write /etc/nova/nova.conf root:nova 0640

migrate nova_api -- as nova nova-manage api_db sync
# Both take their URLs from nova.conf, where no process list shows them; the first cell's database
# is the other's name with _cell0.
cells=$(as nova nova-manage cell_v2 list_cells)
grep --quiet ' cell0 ' <<<"$cells" || as nova nova-manage cell_v2 map_cell0
grep --quiet ' cell1 ' <<<"$cells" || as nova nova-manage cell_v2 create_cell --name cell1
migrate nova nova_cell0 -- as nova nova-manage db sync
api=openstack-nova-api.service
has_unit "$api" || api=openstack-nova-os-compute-api.service
serve "$api" openstack-nova-scheduler.service openstack-nova-conductor.service openstack-nova-novncproxy.service
wait_for 180 answers "http://$CONTROLLER:8774"

# Flavours for guests with GPUs: so many devices by the alias of the inventory.
if [ -n "$GPUS" ]; then
    # shellcheck disable=SC1091
    . /root/openrc
    first=${GPUS%%:*}
    for flavour in "g1.2xlarge 8 15360 60 1" "g1.4xlarge 16 30720 120 2"; do
        read -r name cpus memory disk count <<<"$flavour"
        openstack flavor show "$name" >/dev/null 2>&1 ||
            openstack flavor create --vcpus "$cpus" --ram "$memory" --disk "$disk" "$name"
        openstack flavor set --property "pci_passthrough:alias=$first:$count" "$name"
    done
fi
