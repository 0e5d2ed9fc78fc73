# The cache of tokens.
# shellcheck shell=bash
write /etc/sysconfig/memcached root:root 0644 <<END
PORT="11211"
USER="memcached"
MAXCONN="8192"
CACHESIZE="256"
OPTIONS="-l 127.0.0.1,$ADDRESS -U 0"
END
serve memcached.service
