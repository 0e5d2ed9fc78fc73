# The dashboard, where its package is installed: over TLS, as people type their passwords there.
# shellcheck shell=bash
settings=/etc/openstack-dashboard/local_settings.d/60-rackseed.py
if [ -d "${settings%/*}" ] && ! httpd -M 2>/dev/null | grep -q ssl_module; then
    echo 'the dashboard stays off: install mod_ssl, then run the steps again'
elif [ -d "${settings%/*}" ]; then
    write "$settings" root:apache 0640 <<END
OPENSTACK_HOST = "$CONTROLLER"
OPENSTACK_KEYSTONE_URL = "http://$CONTROLLER:5000/v3"
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
    write /etc/httpd/conf.d/60-rackseed-tls.conf root:root 0644 <<END
# Read before ssl.conf, whose own host for this port has a certificate that nobody trusts.
<VirtualHost *:443>
    ServerName $HOST
    SSLEngine on
    SSLCertificateFile /etc/pki/rackseed/controller.crt
    SSLCertificateKeyFile /etc/pki/rackseed/controller.key
</VirtualHost>
RewriteEngine on
RewriteCond %{HTTPS} off
RewriteCond %{REQUEST_URI} ^/dashboard
RewriteRule ^ https://$HOST%{REQUEST_URI} [L,R=301]
END
    if selinuxenabled 2>/dev/null && [ "$(getsebool httpd_can_network_connect)" != 'httpd_can_network_connect --> on' ]; then
        setsebool -P httpd_can_network_connect on
    fi
    serve httpd.service
else
    echo 'openstack-dashboard is not installed'
fi
