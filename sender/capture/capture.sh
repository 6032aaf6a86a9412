#!/bin/sh
# Saves the memory of the crashed kernel to the first place that takes it.
#
#   capture.sh                 in the capture kernel, called by dracut's hooks
#   capture.sh test            one harmless dump to each place, from the running system
#   capture.sh deliver DIR N   send the saved dump in DIR to place N
#
# /etc/kdump-net/plan and target.N beside it are written by `kdump start`.
# KDUMP_ROOT stands before /proc, /dev and /etc in tests.
R=${KDUMP_ROOT:-}
LIB=${KDUMP_LIB:-/usr/lib/kdump-net}
PLAN=${KDUMP_PLAN:-$R/etc/kdump-net}
VMCORE=${KDUMP_VMCORE:-$R/proc/vmcore}
T=${KDUMP_TMP:-$R/run/kdump-net}
MNT=$T/mnt
KNOWN_HOSTS=$PLAN/known_hosts
PROGRESS_SECONDS=${KDUMP_PROGRESS_SECONDS:-10}
TICK=${KDUMP_TICK:-1}
mode=${1:-capture}
dogs=''
capture_timer=''
TOTAL=0

# shellcheck source=/dev/null
. "$PLAN/plan"
# shellcheck source=sender/capture/wait.sh
. "$LIB/wait.sh"
# shellcheck source=sender/capture/place.sh
. "$LIB/place.sh"

# directory_for HOST: where this dump's files go, without a trailing slash.
# %DATE in path names the whole directory; without it, HOST-DATE comes beneath path.
directory_for() {
    name=$SAVE_PATH
    [ "$mode" = capture ] || name=${KDUMP_DIRECTORY:-$name}
    case $name in
        *%DATE*) ;;
        *) [ "$mode" = test ] || [ "$mode" = deliver ] || name=${name%/}/%HOST-%DATE ;;
    esac
    while :; do
        case $name in
            *%HOST*) name=${name%%%HOST*}$1${name#*%HOST} ;;
            *%DATE*) name=${name%%%DATE*}$DATE${name#*%DATE} ;;
            *) break ;;
        esac
    done
    echo "$name"
}

# address_towards ADDRESS: our own address on the way to it; the file systems' word where there is none
address_towards() {
    # shellcheck disable=SC2046
    set -- $(ip route get "$1" 2> /dev/null)
    while [ $# -gt 1 ]; do
        [ "$1" = src ] && echo "$2" && return
        shift
    done
    echo 127.0.0.1
}

# collect VMCORE [FILE]: the core_collector of the plan; without FILE it writes to standard output
collect() {
    case $mode in
        test) if [ -n "$2" ]; then cat "$1" > "$2"; else exec cat "$1"; fi ;;
        *)
            case $COLLECTOR_KIND in
                dd) dd if="$1" ${2:+of="$2"} bs=64k ;;
                *) eval "exec $COLLECTOR"' "$@"' ;;
            esac
            ;;
    esac
}

# ---- who is told, before anything else

tell_cluster() {
    [ -n "$FENCE_NODES" ] || return 0
    [ ! -e "$T/fence.pid" ] || return 0
    say "telling $FENCE_NODES that we are dumping"
    # shellcheck disable=SC2046,SC2086  # lists of words
    $(fence_sender) $FENCE_ARGS $FENCE_NODES > "$T/fence.log" 2>&1 < /dev/null &
    echo $! > "$T/fence.pid"
}

# the C program cannot sign
fence_sender() {
    if [ -x "$FENCE_PROGRAM" ] && [ -z "$FENCE_KEY" ]; then
        echo "$FENCE_PROGRAM"
    else
        echo "sh $LIB/fence_notify.sh --node $NODE_NAME ${FENCE_KEY:+--key $FENCE_KEY}"
    fi
}

# tell_end PHASE: saved or failed, to those who understand it; to others it is one message more.
# It is said at once, and goes on being said in place of the first sender's until the machine is gone.
tell_end() {
    [ -n "$FENCE_NODES" ] && [ -f "$LIB/fence_notify.sh" ] && command -v bash > /dev/null 2>&1 || return 0
    # shellcheck disable=SC2046,SC2086  # lists of words
    deadline 10 sh "$LIB/fence_notify.sh" $(end_words "$1") -c 1 -i 1 $FENCE_NODES > /dev/null 2>&1 < /dev/null
    kill "$(cat "$T/fence.pid" 2> /dev/null)" 2> /dev/null
    # shellcheck disable=SC2046,SC2086
    sh "$LIB/fence_notify.sh" $(end_words "$1") $FENCE_NODES > /dev/null 2>&1 < /dev/null &
    echo $! > "$T/fence.pid"
}

end_words() { echo "$FENCE_ARGS --node $NODE_NAME ${FENCE_KEY:+--key $FENCE_KEY} --phase $1"; }

# ---- one dump

save_dmesg() {
    say "saving vmcore-dmesg.txt"
    if [ "$mode" = test ]; then
        dmesg > "$T/dmesg" 2> /dev/null || date > "$T/dmesg"
    elif command -v vmcore-dmesg > /dev/null 2>&1; then
        vmcore-dmesg "$VMCORE" > "$T/dmesg" 2> /dev/null
    else
        rm -f "$T/dmesg"
        makedumpfile --dump-dmesg "$VMCORE" "$T/dmesg" > /dev/null 2>&1
    fi || warn "reading the log of the crashed kernel failed"
    [ -s "$T/dmesg" ] || return 0
    "put_$KIND" vmcore-dmesg.txt < "$T/dmesg" 2> /dev/null || warn "saving vmcore-dmesg.txt failed"
}

# save_to N: dump to place N, 0 when it is there whole
save_to() {
    # shellcheck source=/dev/null
    . "$PLAN/target.$1"
    "open_$KIND" || { warn "place $1 ($LABEL) cannot be reached" && return 1; }
    opened=$1
    memory "the start of the dump"
    save_dmesg
    say "saving vmcore"
    "core_$KIND" || { warn "saving to $LABEL failed" && return 1; }
    [ "$KIND" = raw ] || VMCORE_SAVED=$dir
    say "saving vmcore complete"
    memory "the end of the dump"
}

# a dump kept here because its server did not answer is sent at the next boot: `kdump deliver`
mark_for_delivery() {
    [ "$KIND" = fs ] && [ -n "$DELIVER_TO" ] || return 0
    printf '%s\n' "$DELIVER_TO" > "$dir/undelivered" && sync
}

save_somewhere() {
    place=1
    while [ "$place" -le "$TARGETS" ]; do
        opened=''
        if save_to "$place"; then
            [ "$place" -eq 1 ] || mark_for_delivery
            return 0
        fi
        [ -z "$opened" ] || "close_$KIND" > /dev/null 2>&1
        opened=''
        place=$((place + 1))
    done
    return 1
}

# the log of this kernel, last of all
save_own_log() {
    [ -n "$opened" ] || return 0
    dmesg > "$T/log" 2> /dev/null
    case $KIND in
        ssh)
            # shellcheck disable=SC2046,SC2086
            cp "$T/log" "$T/kexec-dmesg.log" &&
                deadline "$NET_TIMEOUT" scp -q $(ssh_options) $(shared_connection) ${SSH_PORT:+-P "$SSH_PORT"} \
                    "$T/kexec-dmesg.log" "$(scp_place "$dir/")"
            ;;
        *) "put_$KIND" kexec-dmesg.log < "$T/log" ;;
    esac || warn "saving kexec-dmesg.log failed"
}

# ---- what comes when nothing was saved

fail() {
    if [ -n "$KDUMP_EMERGENCY" ]; then
        say "running $KDUMP_EMERGENCY"
        "$KDUMP_EMERGENCY" || warn "$KDUMP_EMERGENCY ended with $?"
    fi
    say "no dump was saved; failure_action is $FAILURE_ACTION"
    case $FAILURE_ACTION in
        shell)
            say "a shell; when it ends the machine goes on to $FINAL_ACTION"
            [ -z "$capture_timer" ] || kill "$capture_timer" 2> /dev/null
            # shellcheck disable=SC2094  # a terminal is both read and written
            setsid -c sh -i -l < "$R/dev/console" > "$R/dev/console" 2>&1 || sh -i
            ;;
        dump_to_rootfs) dump_to_root || warn "dumping to the root file system failed" ;;
        mount_root_run_init) mount_root && exit 42 ;;
        halt | poweroff) FINAL_ACTION=$FAILURE_ACTION ;;
    esac
    [ "$FAILURE_ACTION" = reboot ] && FINAL_ACTION=reboot
    end_machine "$FINAL_ACTION"
}

mount_root() {
    DEVICE=$ROOT_DEVICE FSTYPE=$ROOT_FSTYPE MOUNT_OPTIONS=$ROOT_OPTIONS
    [ -n "$DEVICE" ] || { warn "the plan names no root device" && return 1; }
    device=$(device_of "$DEVICE")
    wait_for "$DISK_TIMEOUT" device_ready || return
    check_filesystem || return
    mkdir -p "$R/sysroot"
    deadline 60 mount -t "$FSTYPE" -o "${MOUNT_OPTIONS:-rw}" "$device" "$R/sysroot"
}

dump_to_root() {
    mount_root || return
    KIND=fs COLLECTOR_KIND=$ROOT_COLLECTOR_KIND COLLECTOR=$ROOT_COLLECTOR
    MNT=$R/sysroot
    opened=root
    dir=$MNT$(directory_for 127.0.0.1)
    mkdir -p "$dir" && save_dmesg && core_fs && save_own_log
    rc=$?
    close_fs
    return $rc
}

run_pre() {
    [ -n "$KDUMP_PRE" ] || return 0
    say "running $KDUMP_PRE"
    "$KDUMP_PRE"
}

run_post() {
    [ -n "$KDUMP_POST" ] || return 0
    say "running $KDUMP_POST $1"
    VMCORE="$VMCORE_SAVED" "$KDUMP_POST" "$1" || warn "$KDUMP_POST ended with $?"
}

# ---- modes

capture() {
    mkdir -p "$T"
    : > "$T/started"
    start_capture_timeout
    feed_watchdogs
    memory "the start"
    # dracut loads them once udev has settled, which it may not have in time
    for module in $EXTRA_MODULES; do
        modprobe -q "$module" || warn "the module $module was not loaded"
    done
    tell_cluster
    if ! run_pre; then
        warn "kdump_pre script exited with non-zero status: no dump"
        end_machine "$FINAL_ACTION"
    fi
    if [ "$LINK_DELAY" -gt 0 ]; then
        say "link_delay: $LINK_DELAY s"
        sleep "$LINK_DELAY"
    fi
    if save_somewhere; then rc=0; else rc=1; fi
    if [ $rc -eq 0 ]; then tell_end saved; else tell_end failed; fi
    run_post $rc
    [ $rc -ne 0 ] || save_own_log
    [ -z "$opened" ] || "close_$KIND"
    [ $rc -eq 0 ] || fail
    end_machine "$FINAL_ACTION"
}

# as in the capture kernel, but the "crash" is a file and nothing reboots; the server
# is told as `kdumpctl test` of kdump-utils (1.0.51) tells it
test_places() {
    mkdir -p "$T"
    place=1 rc=0
    while [ "$place" -le "$TARGETS" ]; do
        # shellcheck source=/dev/null
        . "$PLAN/target.$place"
        if [ "$KIND" != ssh ]; then
            say "place $place ($LABEL) is tried in a real crash only"
        elif save_to "$place" && test_status success; then
            say "place $place ($LABEL) took the test dump as $dir"
        else
            test_status fail
            warn "place $place ($LABEL) did not take the test dump"
            rc=1
        fi
        place=$((place + 1))
    done
    return $rc
}

test_status() {
    remote_soon "echo $1 kdump_test_id=${KDUMP_TEST_ID:-0} > $dir/vmcore-creation.status" < /dev/null
}

# deliver DIR N: the files of a saved dump, the core last
deliver() {
    mkdir -p "$T"
    # shellcheck source=/dev/null
    . "$PLAN/target.$2"
    [ "$KIND" = ssh ] || { warn "place $2 is no ssh server" && return 1; }
    open_ssh || return
    for file in vmcore-dmesg.txt vmcore kexec-dmesg.log; do
        [ -f "$1/$file" ] || continue
        say "sending $file"
        part=$(incomplete "$file")
        remote "umask 0077 && dd bs=512 of='$dir/$part'" < "$1/$file" &
        watched $! || return
        rename_remote "$part" "$file" || return
    done
}

DATE=${KDUMP_DATE:-$(date +%Y-%m-%d-%T)}
VMCORE_SAVED=''
opened=''
case $mode in
    capture) capture ;;
    fence) mkdir -p "$T" && tell_cluster ;;
    test) test_places ;;
    deliver) deliver "$2" "$3" ;;
    *) echo "usage: capture.sh [fence|test|deliver DIR N]" >&2 && exit 2 ;;
esac
