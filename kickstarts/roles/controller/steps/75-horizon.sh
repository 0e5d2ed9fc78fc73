# The dashboard, where its package is installed: behind the same door as all services.
# shellcheck shell=bash
settings=/etc/openstack-dashboard/local_settings.d/60-rackseed.py
if [ -d "${settings%/*}" ]; then
    write "$settings" root:apache 0640 <<END
OPENSTACK_HOST = "$CONTROLLER"
OPENSTACK_KEYSTONE_URL = "http://$CONTROLLER:5000/v3"
OPENSTACK_ENDPOINT_TYPE = "internalURL"
OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT = True
ALLOWED_HOSTS = ["$HOST", "${HOST%%.*}", "$ADDRESS"]
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "$CONTROLLER:11211",
    }
}
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
WEBROOT = "/dashboard/"
END
    # Our package has a server of its own behind httpd, RDO's runs in it.
    ! has_unit openstack-dashboard.service || bring_up openstack-dashboard.service
    serve httpd.service
    wait_for 120 answers --fail --cacert /etc/pki/rackseed/authority.crt "https://$HOST/dashboard/auth/login/"
else
    echo 'openstack-dashboard is not installed'
fi
