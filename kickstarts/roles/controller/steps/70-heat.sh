# Stacks.
# shellcheck shell=bash
write /etc/heat/heat.conf root:heat 0640 <<END
[DEFAULT]
transport_url = rabbit://openstack:$RABBIT_PASSWORD@$CONTROLLER:5672/
heat_metadata_server_url = http://$CONTROLLER:8000
heat_waitcondition_server_url = http://$CONTROLLER:8000/v1/waitcondition
stack_user_domain_name = heat
stack_domain_admin = heat_domain_admin
stack_domain_admin_password = $HEAT_DOMAIN_PASSWORD
region_name_for_services = $REGION

[clients]
endpoint_type = internalURL

[clients_keystone]
auth_uri = http://$CONTROLLER:5000/v3

[ec2authtoken]
# Keystone looks at signatures of guests' signals for services alone.
endpoint_override = http://$CONTROLLER:5000
auth_url = http://$CONTROLLER:5000/v3
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = heat
password = $HEAT_PASSWORD

[database]
connection = mysql+pymysql://heat:$HEAT_DB_PASSWORD@$CONTROLLER/heat

[keystone_authtoken]
www_authenticate_uri = https://$CONTROLLER/identity/v3
auth_url = http://$CONTROLLER:5000/v3
memcached_servers = $CONTROLLER:11211
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = heat
password = $HEAT_PASSWORD

[trustee]
auth_type = password
auth_url = http://$CONTROLLER:5000/v3
username = heat
password = $HEAT_PASSWORD
user_domain_name = Default

[oslo_middleware]
enable_proxy_headers_parsing = true
END
migrate heat -- as heat heat-manage db_sync
serve openstack-heat-api.service openstack-heat-api-cfn.service openstack-heat-engine.service
wait_for 180 answers "http://$CONTROLLER:8004"
