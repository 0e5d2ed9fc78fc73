# What steps share. A step runs with -eu -o pipefail, its settings and secrets set, and may run
# again at any time: each of these finds out first whether there is anything to do.
# shellcheck shell=bash
# shellcheck disable=SC1091 # these files exist on the host only
. "$SETTINGS/settings"
[ ! -e "$SETTINGS/secrets" ] || . "$SETTINGS/secrets"

fail() {  # MESSAGE
    echo "$1" >&2
    exit 1
}

write() {  # FILE OWNER:GROUP MODE: the file holds what stdin says, and its services know of it
    local new=$1.rackseed-new
    (umask 077 && cat >"$new")
    if cmp --silent "$new" "$1"; then
        rm "$new"
    else
        echo "writing $1"
        # Kept in a file: if the step stops before the restart, its next run makes up for it.
        touch "$STATE/$STEP.restart"
        chown "$2" "$new"
        chmod "$3" "$new"
        mv "$new" "$1"
        ! command -v restorecon >/dev/null || restorecon "$1"
    fi
    chown "$2" "$1"
    chmod "$3" "$1"
}

has_unit() { systemctl cat "$1" >/dev/null 2>&1; }

bring_up() {  # UNIT...: enabled and running
    local unit fresh=()
    for unit in "$@"; do
        systemctl enable --quiet "$unit"
        if ! systemctl is-active --quiet "$unit"; then
            systemctl start "$unit"
            fresh+=("$unit")
        fi
    done
    stay "${fresh[@]}"
}

serve() {  # UNIT...: enabled, running, and with the files that this step wrote; once in a step
    local unit
    if [ -e "$STATE/$STEP.restart" ]; then
        for unit in "$@"; do
            systemctl enable --quiet "$unit"
            systemctl restart "$unit"
        done
        stay "$@"
        rm "$STATE/$STEP.restart"
    else
        bring_up "$@"
    fi
}

stay() {  # UNIT...: they still run a moment after they were started
    local unit type looked=()
    for unit in "$@"; do
        type=$(systemctl show --property=Type --value "$unit")
        # Others say when they are ready, or have done what they are for.
        case $type in simple | exec | forking) looked+=("$unit") ;; esac
    done
    [ -z "${looked[*]}" ] || sleep "${SETTLE:-3}"
    for unit in "${looked[@]}"; do
        if ! systemctl is-active --quiet "$unit" ||
            [ "$(systemctl show --property=NRestarts --value "$unit")" -gt 0 ]; then
            systemctl status --no-pager --lines=20 "$unit" || true
            fail "$unit ended again right after its start"
        fi
    done
}

migrate() {  # DATABASE... -- COMMAND...: the command gives the databases their tables
    local mark=$STATE/$1.begun names=()
    while [ "$1" != -- ]; do
        names+=("$1")
        shift
    done
    # MariaDB keeps each table at once, so a first migration that was cut off finds some of them
    # there and fails for ever: it begins anew. What was once migrated is never emptied.
    if [ -e "$mark" ]; then
        for name in "${names[@]}"; do
            mariadb --execute "DROP DATABASE IF EXISTS $name; CREATE DATABASE $name"
        done
    elif [ "$(tables "${names[@]}")" -eq 0 ]; then
        touch "$mark"
        sync "$mark"
    fi
    "${@:2}"
    rm -f "$mark"
}

tables() {  # DATABASE...: how many there are
    local listed
    printf -v listed "'%s'," "$@"
    mariadb --skip-column-names --execute \
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema IN (${listed%,})"
}

wait_for() {  # SECONDS COMMAND...: until the command succeeds
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "not in time: $*"
        sleep 2
    done
}

listens() { timeout 5 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }

answers() {  # [OPTION...] URL: the service behind it does; any word of HTTP will do
    curl --silent --output /dev/null --max-time 10 "$@"
}

as() { runuser --user "$1" -- "${@:2}"; }  # USER COMMAND...
