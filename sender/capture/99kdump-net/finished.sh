#!/bin/sh
# dracut's initqueue/finished hook: over with waiting when the plan's time is up, whatever is missing.
# The first of its kind by name; the others wait for interfaces and disks.
(
    # shellcheck source=/dev/null
    . /etc/kdump-net/plan
    read -r up _ < /proc/uptime
    if [ "${up%%.*}" -ge "$WAIT_SECONDS" ]; then
        echo "kdump: not everything is there after $WAIT_SECONDS s, going on without it"
        # shellcheck disable=SC2154  # dracut's
        rm -f "$hookdir"/initqueue/finished/wait-*.sh "$hookdir"/initqueue/finished/devexists-*.sh
        exit 0
    fi
    for device in $WAIT_DEVICES; do
        [ -e "$device" ] || exit 1
    done
    exit 0
)
