# Nova's part on a host of guests. The controller finds the host by itself within five minutes.
# shellcheck shell=bash
case "$MIGRATION" in
    # Both ends have certificates, and the memory of guests goes by TLS, too.
    tls) migration=('live_migration_scheme = tls' 'live_migration_with_native_tls = true') ;;
    # libvirt's own words go by SSH, the memory of guests in the clear.
    ssh) migration=('live_migration_uri = qemu+ssh://nova@%s/system?keyfile=/var/lib/nova/.ssh/id_ecdsa') ;;
    tcp) migration=('live_migration_scheme = tcp') ;;
esac
{
    cat <<END
[DEFAULT]
my_ip = $ADDRESS
host = $HOST
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/
compute_driver = libvirt.LibvirtDriver

[api]
auth_strategy = keystone

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
enabled = true
server_listen = $ADDRESS
server_proxyclient_address = $ADDRESS
novncproxy_base_url = https://$CONTROLLER:6080/vnc_auto.html

[libvirt]
virt_type = $VIRT_TYPE
END
    # Which processor guests see. A guest of software has no host's processor.
    if [ "$VIRT_TYPE" = kvm ]; then
        echo "cpu_mode = $CPU_MODE"
        [ -z "$CPU_MODELS" ] || echo "cpu_models = $CPU_MODELS"
    else
        echo 'cpu_mode = none'
    fi
    cat <<END
$(printf '%s\n' "${migration[@]}")
# By address: the other hosts need not know this one's name.
live_migration_inbound_addr = $ADDRESS
live_migration_permit_post_copy = true

[oslo_concurrency]
lock_path = /var/lib/nova/tmp
END
    if [ -n "$GPUS" ]; then
        echo
        echo '[pci]'
        # ALIAS:VENDOR:PRODUCT:TYPE: the devices that guests may have, and by which name they ask.
        for gpu in $GPUS; do
            IFS=: read -r alias vendor product type <<<"$gpu"
            echo "device_spec = {\"vendor_id\": \"$vendor\", \"product_id\": \"$product\"}"
            echo "alias = {\"vendor_id\": \"$vendor\", \"product_id\": \"$product\", \"device_type\": \"$type\", \"name\": \"$alias\"}"
        done
    fi
} | write /etc/nova/nova.conf root:nova 0640
serve openstack-nova-compute.service
