# The database of all services: nothing but what they need is in it, and nobody gets in without a
# password but root on this host, by the socket.
# shellcheck shell=bash
install -d /etc/my.cnf.d
write /etc/my.cnf.d/60-rackseed.cnf root:root 0644 <<END
[mysqld]
bind-address = $ADDRESS
# Names would be looked up at every connection.
skip-name-resolve
default-storage-engine = innodb
innodb_file_per_table = on
# Every worker of every service keeps a few.
max_connections = 4096
collation-server = utf8mb3_general_ci
character-set-server = utf8mb3
END
serve mariadb.service
wait_for 60 mariadb --execute 'SELECT 1'

# What mysql_secure_installation does, without its questions.
mariadb <<'END'
DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host NOT IN ('localhost', '127.0.0.1', '::1'));
DROP DATABASE IF EXISTS test;
DELETE FROM mysql.db WHERE Db = 'test' OR Db = 'test\_%';
FLUSH PRIVILEGES;
END

# By standard input: a process list shows arguments.
grant() {  # USER PASSWORD DATABASE...
    local user=$1 password=$2 name
    {
        echo "CREATE USER IF NOT EXISTS '$user'@'%' IDENTIFIED BY '$password';"
        # Only another password is set: setting one anew moves its date.
        echo "DELIMITER //"
        echo "IF NOT EXISTS (SELECT 1 FROM mysql.global_priv WHERE User = '$user' AND Host = '%'"
        echo "    AND JSON_VALUE(Priv, '$.authentication_string') = PASSWORD('$password'))"
        echo "THEN ALTER USER '$user'@'%' IDENTIFIED BY '$password'; END IF //"
        echo "DELIMITER ;"
        for name in "${@:3}"; do
            echo "CREATE DATABASE IF NOT EXISTS $name;"
            echo "GRANT ALL PRIVILEGES ON $name.* TO '$user'@'%';"
        done
    } | mariadb
}
grant keystone "$KEYSTONE_DB_PASSWORD" keystone
grant glance "$GLANCE_DB_PASSWORD" glance
grant placement "$PLACEMENT_DB_PASSWORD" placement
grant nova "$NOVA_DB_PASSWORD" nova nova_api nova_cell0
grant neutron "$NEUTRON_DB_PASSWORD" neutron
grant cinder "$CINDER_DB_PASSWORD" cinder
grant heat "$HEAT_DB_PASSWORD" heat
