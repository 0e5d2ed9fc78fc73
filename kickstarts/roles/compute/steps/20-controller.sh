# The controller is there: its services are what everything below talks to. Hosts of one rack are
# often installed at the same time, so this may wait.
# shellcheck shell=bash
for port in 5672 5000 8778 8774 9696; do
    wait_for 3600 listens "$CONTROLLER" "$port"
done
