# What the hosts have to give.
# shellcheck shell=bash
write /etc/placement/placement.conf root:placement 0640 <<END
[api]
auth_strategy = keystone

[placement_database]
connection = mysql+pymysql://placement:$PLACEMENT_DB_PASSWORD@$CONTROLLER/placement

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = placement
password = $PLACEMENT_PASSWORD

[oslo_middleware]
enable_proxy_headers_parsing = true
END
migrate placement -- as placement placement-manage db sync
if has_unit openstack-placement-api.service; then
    serve openstack-placement-api.service
else
    serve httpd.service
fi
wait_for 120 answers "http://$CONTROLLER:8778"
