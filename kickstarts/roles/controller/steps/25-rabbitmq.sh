# The message queue. Its node is named by this host's name, which the first step looked at.
# shellcheck shell=bash
install -d /etc/rabbitmq
write /etc/rabbitmq/rabbitmq.conf root:root 0644 <<END
listeners.tcp.default = $ADDRESS:5672
END
serve rabbitmq-server.service
wait_for 120 rabbitmqctl await_startup --timeout 5

# Passwords by standard input: a process list shows arguments.
users=$(rabbitmqctl --quiet list_users | cut -f 1)
! grep --quiet --line-regexp guest <<<"$users" || rabbitmqctl --quiet delete_user guest
if ! grep --quiet --line-regexp openstack <<<"$users"; then
    rabbitmqctl --quiet add_user openstack <<<"$RABBIT_PASSWORD"
elif ! rabbitmqctl --quiet authenticate_user openstack <<<"$RABBIT_PASSWORD" >/dev/null 2>&1; then
    rabbitmqctl --quiet change_password openstack <<<"$RABBIT_PASSWORD"
fi
rabbitmqctl --quiet set_permissions --vhost / openstack '.*' '.*' '.*'
