# The cloud's one door for everybody from elsewhere: TLS, and behind it each service under a path of
# its own. Hosts of the cloud ask services at their own ports, which their segment alone reaches.
# shellcheck shell=bash
[ -e /etc/httpd/conf.modules.d/00-ssl.conf ] || fail 'httpd speaks no TLS: install mod_ssl'
{
    cat <<END
# Read before ssl.conf, whose own host for this port has a certificate that nobody trusts.
<VirtualHost *:443>
    ServerName $HOST
    SSLEngine on
    SSLCertificateFile /etc/pki/rackseed/controller.crt
    SSLCertificateKeyFile /etc/pki/rackseed/controller.key
    # Services write links as they were asked; each service is told by which path.
    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto https
    # Images are larger than the GiB that httpd takes by itself.
    LimitRequestBody 0
END
    while read -r path port; do
        cat <<END
    <Location /$path>
        RequestHeader set X-Forwarded-Prefix /$path
        ProxyPass http://$ADDRESS:$port retry=0 timeout=600
    </Location>
END
    done <<'END'
identity 5000
image 9292
placement 8778
compute 8774
network 9696
volume 8776
orchestration 8004
END
    cat <<END
</VirtualHost>
RewriteEngine on
RewriteCond %{HTTPS} off
RewriteCond %{REQUEST_URI} ^/dashboard
RewriteRule ^ https://$HOST%{REQUEST_URI} [L,R=301]
END
} | write /etc/httpd/conf.d/60-rackseed-tls.conf root:root 0644
if selinuxenabled 2>/dev/null && [ "$(getsebool httpd_can_network_connect)" != 'httpd_can_network_connect --> on' ]; then
    setsebool -P httpd_can_network_connect on
fi
serve httpd.service
