# Volumes: the services that decide, and one that serves volumes where a volume group is named.
# shellcheck shell=bash
{
    cat <<END
[DEFAULT]
my_ip = $ADDRESS
osapi_volume_listen = $ADDRESS
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/
auth_strategy = keystone
glance_api_servers = http://$CONTROLLER:9292
END
    [ -z "$VOLUMES" ] || echo 'enabled_backends = lvm'
    cat <<END

[database]
connection = mysql+pymysql://cinder:$CINDER_DB_PASSWORD@$CONTROLLER/cinder

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = cinder
password = $CINDER_PASSWORD

# To tell guests that a volume of theirs has grown.
[nova]
region_name = $REGION
interface = internal
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = nova
password = $NOVA_PASSWORD

[oslo_concurrency]
lock_path = /var/lib/cinder/tmp

[oslo_middleware]
enable_proxy_headers_parsing = true
END
    if [ -n "$VOLUMES" ]; then
        cat <<END

[lvm]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_group = $VOLUMES
target_protocol = iscsi
target_helper = lioadm
target_ip_address = $ADDRESS
END
    fi
} | write /etc/cinder/cinder.conf root:cinder 0640
migrate cinder -- as cinder cinder-manage db sync
if [ -n "$VOLUMES" ]; then
    serve openstack-cinder-api.service openstack-cinder-scheduler.service openstack-cinder-volume.service
else
    serve openstack-cinder-api.service openstack-cinder-scheduler.service
fi
wait_for 180 answers "http://$CONTROLLER:8776"
