# The time is right before anything starts: heartbeats and tokens carry it. All hosts ask the
# controller, so that they agree even when no server outside is reached.
# shellcheck shell=bash
{
    for server in $TIME_SERVERS; do
        echo "server $server iburst"
    done
    echo 'driftfile /var/lib/chrony/drift'
    # Steps instead of slewing at the start only: later a jump would break what runs.
    echo 'makestep 1.0 3'
    echo 'rtcsync'
    if [ "$HOST" = "$CONTROLLER" ]; then
        echo "allow $SUBNET"
        echo 'local stratum 10'
    fi
} | write /etc/chrony.conf root:root 0644
serve chronyd.service
# The controller serves its own clock when nobody answers; all others wait for it.
[ "$HOST" = "$CONTROLLER" ] || wait_for 300 chronyc -n waitsync 1 0.5
