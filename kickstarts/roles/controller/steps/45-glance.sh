# Images.
# shellcheck shell=bash
write /etc/glance/glance-api.conf root:glance 0640 <<END
[DEFAULT]
bind_host = $ADDRESS
enabled_backends = files:file

[database]
connection = mysql+pymysql://glance:$GLANCE_DB_PASSWORD@$CONTROLLER/glance

[glance_store]
default_backend = files

[files]
filesystem_store_datadir = /var/lib/glance/images

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = glance
password = $GLANCE_PASSWORD

[paste_deploy]
flavor = keystone

[oslo_middleware]
enable_proxy_headers_parsing = true
END
install -d -m 0750 -o glance -g glance /var/lib/glance/images
migrate glance -- as glance glance-manage db_sync
serve openstack-glance-api.service
wait_for 120 answers "http://$CONTROLLER:9292"
