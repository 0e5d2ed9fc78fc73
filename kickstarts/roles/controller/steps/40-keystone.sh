# Who somebody is: the first service, all others ask it.
# shellcheck shell=bash
write /etc/keystone/keystone.conf root:keystone 0640 <<END
[database]
connection = mysql+pymysql://keystone:$KEYSTONE_DB_PASSWORD@$CONTROLLER/keystone

[token]
provider = fernet

[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = $CONTROLLER:11211

[oslo_middleware]
enable_proxy_headers_parsing = true
END
migrate keystone -- as keystone keystone-manage db_sync
# Each makes keys only where there are none.
keystone-manage fernet_setup --keystone-user keystone --keystone-group keystone
keystone-manage credential_setup --keystone-user keystone --keystone-group keystone
OS_BOOTSTRAP_PASSWORD=$ADMIN_PASSWORD keystone-manage bootstrap \
    --bootstrap-username admin --bootstrap-project-name admin --bootstrap-role-name admin \
    --bootstrap-service-name keystone --bootstrap-region-id "$REGION" \
    --bootstrap-public-url "https://$CONTROLLER/identity/v3" \
    --bootstrap-internal-url "http://$CONTROLLER:5000/v3" \
    --bootstrap-admin-url "http://$CONTROLLER:5000/v3"
# Bootstrapping as root leaves a log that the service could not write to.
chown -R keystone:keystone /var/log/keystone

write /root/openrc root:root 0600 <<END
export OS_AUTH_URL=https://$CONTROLLER/identity/v3
export OS_CACERT=/etc/pki/rackseed/authority.crt
export OS_IDENTITY_API_VERSION=3
export OS_REGION_NAME=$REGION
export OS_USERNAME=admin
export OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_PASSWORD=$ADMIN_PASSWORD
END

if has_unit openstack-keystone.service; then
    serve openstack-keystone.service
else
    # RDO serves it from Apache.
    ln -sf /usr/share/keystone/wsgi-keystone.conf /etc/httpd/conf.d/
    serve httpd.service
fi
wait_for 120 answers "http://$CONTROLLER:5000/v3"

# Users of the services and where each is found, from elsewhere and by hosts of the cloud, also of those
# that come later. Guests ask the last one, who do not know our authority.
OS_AUTH_URL=http://$CONTROLLER:5000/v3 OS_PASSWORD=$ADMIN_PASSWORD REGION=$REGION \
    python3 "$LIBRARY/helpers/identity.py" <<END
user glance $GLANCE_PASSWORD
user placement $PLACEMENT_PASSWORD
user nova $NOVA_PASSWORD
user neutron $NEUTRON_PASSWORD
user cinder $CINDER_PASSWORD
user heat $HEAT_PASSWORD
domain heat heat_domain_admin $HEAT_DOMAIN_PASSWORD
endpoint image glance https://$CONTROLLER/image http://$CONTROLLER:9292
endpoint placement placement https://$CONTROLLER/placement http://$CONTROLLER:8778
endpoint compute nova https://$CONTROLLER/compute/v2.1 http://$CONTROLLER:8774/v2.1
endpoint network neutron https://$CONTROLLER/network http://$CONTROLLER:9696
endpoint volumev3 cinderv3 https://$CONTROLLER/volume/v3/%(project_id)s http://$CONTROLLER:8776/v3/%(project_id)s
endpoint orchestration heat https://$CONTROLLER/orchestration/v1/%(project_id)s http://$CONTROLLER:8004/v1/%(project_id)s
endpoint cloudformation heat-cfn http://$CONTROLLER:8000/v1 http://$CONTROLLER:8000/v1
END
