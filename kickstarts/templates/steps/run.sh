#!/bin/bash
# Runs the steps that make this host what its role says: in order, each until it succeeded once.
#
#   systemctl start rackseed-steps                 what is not done yet
#   /usr/local/libexec/rackseed-steps --again      every step again: one that finds its work done
#                                                  changes nothing. It asks for the secrets again.
#
# A step is done when it succeeded with the text and the settings that it has now. Everything is
# in /var/log/rackseed-steps.log, under the step's name. ROOT is another root, for trying it.
set -u -o pipefail
root=${ROOT:-}
library=$root/usr/local/lib/rackseed
settings=$root/etc/rackseed
state=$root/var/lib/rackseed/steps
log=$root/var/log/rackseed-steps.log
attempts=${ATTEMPTS:-3}
pause=${PAUSE:-30}

umask 077
mkdir -p "$state"
touch "$log"
exec 9>"$state/lock"
flock --nonblock 9 || { echo "rackseed-steps: another run is under way" >&2; exit 1; }

say() { printf '%(%Y-%m-%dT%H:%M:%S%z)T %s\n' -1 "$1" | tee -a "$log"; }

report() {  # KIND MESSAGE: fails if the boot server was not reached
    say "$2"
    [ -s "$settings/report-url" ] || return 0
    # The URL goes in by a file: a process list shows arguments.
    curl --silent --max-time 30 --retry 3 --output /dev/null --config "$settings/report-url" \
        --header 'Content-Type: application/json' \
        --data "{\"kind\": \"$1\", \"message\": \"$2\"}" 9>&- && return 0
    say "the boot server did not take the report"
    return 1
}

digest() { cat "$1" "$library/functions.sh" "$settings/settings" | sha256sum | cut -d ' ' -f 1; }

run() {  # FILE NAME
    STEP=$2 STATE=$state LIBRARY=$library SETTINGS=$settings \
        bash -e -u -o pipefail -c '. "$LIBRARY/functions.sh"; . "$0"' "$1" 9>&- </dev/null 2>&1 |
        while IFS= read -r line; do printf '%s: %s\n' "$2" "$line"; done >>"$log"
}

# The last run removed them. Without them a step would stop in the middle.
need_secrets() {
    [ -e "$state/secrets-removed" ] && [ ! -s "$settings/secrets" ] || return 0
    echo "rackseed-steps: the secrets are gone: for this run, write them as KEY=VALUE lines into $settings/secrets, mode 0600" >&2
    exit 1
}

if [ "${1:-}" = --again ]; then
    need_secrets
    rm -f "$state"/*.done
fi

ran=0
for file in "$library"/steps/*; do
    name=$(basename "$file")
    [ "$(cat "$state/$name.done" 2>/dev/null)" != "$(digest "$file")" ] || continue
    need_secrets
    ran=$((ran + 1))
    report progress "step $name begins"
    attempt=1
    until run "$file" "$name"; do
        if [ "$attempt" -ge "$attempts" ]; then
            report failed "step $name failed $attempt times, see $log; systemctl start rackseed-steps continues there"
            exit 1
        fi
        say "step $name failed, trying again in $pause s"
        attempt=$((attempt + 1))
        sleep "$pause"
    done
    # What the step did is on the disk before it counts as done: power may fail at any time.
    sync
    digest "$file" >"$state/$name.done"
done

# What opened something is not needed any more. Services have their own passwords in their files.
if [ -e "$settings/secrets" ]; then
    touch "$state/secrets-removed"
    rm "$settings/secrets"
fi
# The URL stays until somebody was told: with it there, the next start of the host tries again.
if [ "$ran" -eq 0 ] && [ ! -e "$settings/report-url" ] || report installed "all steps are done"; then
    rm -f "$settings/report-url"
fi
