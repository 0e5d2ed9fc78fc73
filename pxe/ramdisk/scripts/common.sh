#!/bin/sh
# What every part of the ramdisk uses: the screen, the command line, drivers, the server.

# say WORDS...: one line on every console the kernel has, the serial one included.
say() {
    # Words are meant, not lines.
    # shellcheck disable=SC2013
    for console in $(cat /sys/class/tty/console/active); do
        printf 'rackseed: %s\r\n' "$*" >"/dev/$console" 2>/dev/null
    done
}

# word NAME [DEFAULT]: the value of a word of the kernel command line.
word() {
    # shellcheck disable=SC2013
    for pair in $(cat /proc/cmdline); do
        case "$pair" in
        "$1"=*)
            echo "${pair#*=}"
            return
            ;;
        esac
    done
    echo "$2"
}

# Leave the reason on the screen, for ever. A machine that restarts by itself hides it.
stop() {
    say "-----------------------------------------------------------------"
    say "STOPPED: $*"
    say "Nothing more happens here; switch the machine off or restart it."
    say "-----------------------------------------------------------------"
    while :; do sleep 3600; done
}

# finish poweroff|reboot|wait
finish() {
    say "done, after=$1"
    sync
    case "$1" in
    poweroff) poweroff -f ;;
    reboot) reboot -f ;;
    esac
    stop "waiting, as rackseed.after=$1 says"
}

# Load the drivers of devices not seen before; new buses bring new devices, so call it again.
coldplug() {
    [ -e /run/seen ] || echo - >/run/seen
    find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u >/run/aliases
    # Device names never have white space; one modprobe takes them all.
    # shellcheck disable=SC2046
    modprobe -a -b -q $(grep -vxFf /run/seen /run/aliases) 2>/dev/null
    mv /run/aliases /run/seen
}

# Wait until no disk has appeared for three seconds: controllers look for theirs in the background.
settle() {
    quiet=0
    before=
    seconds=0
    while [ "$quiet" -lt 3 ] && [ "$seconds" -lt 90 ]; do
        coldplug
        now=$(ls /sys/block /sys/class/net)
        if [ "$now" = "$before" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        before=$now
        seconds=$((seconds + 1))
        sleep 1
    done
}

# quoted TEXT: a JSON string. Firmware strings are not always text: keep printable ASCII.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr -cd ' -~' | sed 's/[\\"]/\\&/g; s/^ *//; s/ *$//')"
}

# quoted_or_null TEXT
quoted_or_null() {
    if [ -n "$1" ]; then quoted "$1"; else printf null; fi
}

# number_or_null TEXT
number_or_null() {
    case "$1" in
    "" | *[!0-9]*) printf null ;;
    *) printf '%s' "$1" ;;
    esac
}

# first_line FILE: its first line, or nothing.
first_line() {
    head -n 1 "$1" 2>/dev/null | tr -d '\0'
}

# request SECONDS OUTPUT [WGET-OPTION...] URL: status 0 done, 1 refused (see /run/refusal), 2 no
# server or a broken connection.
request() {
    patience=$1
    output=$2
    shift 2
    # Not -T: busybox 1.35 as Debian builds it crashes on that option.
    timeout "$patience" wget -q -O "$output" "$@" 2>/run/wget.log && return 0
    # The words of busybox: "wget: server returned error: HTTP/1.1 403 Forbidden". 5xx is no answer.
    if grep -q 'server returned error: HTTP/[0-9.]* 4' /run/wget.log; then
        sed -n 's/.*server returned error: *//p' /run/wget.log >/run/refusal
        return 1
    fi
    return 2
}

# until_answered REQUEST-ARGUMENTS...: ask until there is an answer; the server may be restarting.
until_answered() {
    pause=1
    while :; do
        request "$@"
        status=$?
        [ "$status" -lt 2 ] && return "$status"
        say "the server does not answer, trying again in ${pause}s"
        sleep "$pause"
        pause=$((pause * 2))
        [ "$pause" -gt 16 ] && pause=16
    done
}

# report KIND MESSAGE DATA: deliver it, however long it takes; status 1 when the server refuses.
report() {
    until_answered 10 /dev/null --header "Content-Type: application/json" \
        --post-data "{\"kind\":$(quoted "$1"),\"message\":$(quoted "$2"),\"data\":$3}" "$REPORT"
}

# progress MESSAGE DATA: tell it once; nobody waits for it.
progress() {
    say "$1"
    request 5 /dev/null --header "Content-Type: application/json" \
        --post-data "{\"kind\":\"progress\",\"message\":$(quoted "$1"),\"data\":$2}" "$REPORT"
}
