# shellcheck shell=sh
# Every wait of the capture kernel, with its deadline. Sourced by capture.sh.

# what is said also goes, below the console's level, into the log that is saved as kexec-dmesg.log
say() {
    echo "kdump: $*"
    note "$*"
}

warn() {
    echo "kdump: $*" >&2
    note "$*"
}

note() {
    # shellcheck disable=SC2154  # capture.sh's
    [ "$mode" = capture ] && [ -w "$R/dev/kmsg" ] && echo "<7>kdump: $*" > "$R/dev/kmsg"
    return 0
}

uptime_seconds() {
    read -r up _ < "$R/proc/uptime" || up=0
    echo "${up%%.*}"
}

# deadline SECONDS COMMAND...: 124 when the time was up
deadline() {
    if command -v timeout > /dev/null 2>&1; then
        timeout -k 5 "$@"
    else
        shift
        "$@"
    fi
}

# wait_for SECONDS COMMAND...: until COMMAND succeeds, tried once a second
wait_for() {
    until_second=$(($(uptime_seconds) + $1))
    shift
    until "$@"; do
        [ "$(uptime_seconds)" -lt "$until_second" ] || return 1
        sleep 1
    done
}

# work_of PID: a number that grows while the process computes, reads or writes
work_of() {
    sum=0
    if { read -r stat < "$R/proc/$1/stat"; } 2> /dev/null; then
        # after the name in brackets, the 12th and 13th fields are user and system time
        # shellcheck disable=SC2086  # its words are wanted
        set -- "$1" ${stat##*) }
        sum=$((${13:-0} + ${14:-0}))
    fi
    echo $((sum + $(written_by "$1")))
}

# written_by PID: bytes written, 0 where the kernel does not count them
written_by() {
    count=0
    if [ -r "$R/proc/$1/io" ]; then
        while read -r word value; do
            [ "$word" = wchar: ] && count=$value
        done 2> /dev/null < "$R/proc/$1/io"
    fi
    echo "$count"
}

# bytes_of FILE: its length; /proc/vmcore knows its own
bytes_of() {
    # shellcheck disable=SC2046  # the fifth word is wanted
    set -- $(ls -ln "$1" 2> /dev/null)
    echo "${5:-0}"
}

# size_of BYTES: for people
size_of() {
    if [ "$1" -ge 1048576 ]; then echo "$(($1 / 1048576)) MiB"; else echo "$(($1 / 1024)) KiB"; fi
}

# watched SENDER [READER]: waits for the process SENDER while another shows how it gets on. Gives SENDER's
# status, 124 when it was ended because nothing moved.
watched() {
    rm -f "$T/stalled"
    watch_over "$1" "${2:-0}" &
    watcher=$!
    ended=0
    wait "$1" || ended=$?
    kill "$watcher" 2> /dev/null
    wait "$watcher" 2> /dev/null
    [ ! -e "$T/stalled" ] || return 124
    return $ended
}

# watch_over SENDER READER: ends both when neither has done anything for STALL_TIMEOUT seconds
watch_over() {
    begin=$(uptime_seconds)
    last=0 moved=$begin shown=$begin
    while kill -0 "$1" 2> /dev/null; do
        now=$(uptime_seconds)
        work=$(($(work_of "$1") + $(work_of "$2")))
        if [ "$work" != "$last" ]; then
            last=$work moved=$now
        elif [ $((now - moved)) -ge "$STALL_TIMEOUT" ]; then
            warn "nothing has moved for $STALL_TIMEOUT s: giving up"
            : > "$T/stalled"
            [ "$2" = 0 ] || kill "$2" 2> /dev/null
            kill "$1" 2> /dev/null
            sleep 1
            [ "$2" = 0 ] || kill -9 "$2" 2> /dev/null
            kill -9 "$1" 2> /dev/null
            return
        fi
        if [ $((now - shown)) -ge "$PROGRESS_SECONDS" ]; then
            shown=$now
            progress "$(written_by "$1")" $((now - begin))
        fi
        sleep "$TICK"
    done
}

# progress BYTES SECONDS: a line on the console; of what is sent as it is, how much of all, too
progress() {
    of=''
    # shellcheck disable=SC2154  # capture.sh's
    [ "$TOTAL" -eq 0 ] || of=" of $(size_of "$TOTAL") ($(($1 / (TOTAL / 100 + 1)))%)"
    say "$(size_of "$1")$of in $2 s, $(size_of $(($1 / ($2 + ($2 == 0)))))/s"
}

# a capture kernel that hangs for ever keeps its machine from coming back
start_capture_timeout() {
    [ "$CAPTURE_TIMEOUT" -gt 0 ] || return 0
    (
        sleep "$CAPTURE_TIMEOUT"
        warn "capture_timeout of $CAPTURE_TIMEOUT s is over"
        end_machine "$FINAL_ACTION"
    ) &
    # shellcheck disable=SC2034  # capture.sh ends it before a shell
    capture_timer=$!
}

# hardware watchdogs armed by the crashed kernel go on counting
feed_watchdogs() {
    for dog in "$R"/dev/watchdog*; do
        [ -c "$dog" ] || continue
        (while :; do
            echo . || exit
            sleep 10
        done > "$dog" 2> /dev/null) &
        dogs="$dogs $!"
        return
    done
}

memory() {
    [ "$DEBUG_MEM_LEVEL" -gt 0 ] || return 0
    say "memory at $1"
    case $DEBUG_MEM_LEVEL in
        1) grep -E '^(MemTotal|MemFree|MemAvailable|Buffers|Cached|Slab|SUnreclaim)' "$R/proc/meminfo" ;;
        *) cat "$R/proc/meminfo" ;;
    esac
    [ "$DEBUG_MEM_LEVEL" -lt 3 ] || cat "$R/proc/slabinfo"
}

# end_machine ACTION: does not come back
end_machine() {
    sync
    case $1 in
        halt) word=halt key=b ;;
        poweroff) word=poweroff key=o ;;
        *) word=reboot key=b ;;
    esac
    say "$word"
    command -v busybox > /dev/null 2>&1 && deadline 20 busybox $word -f
    flag=-f
    # systemd's reboot needs -f twice to do it without asking a manager that is not there
    command -v systemctl > /dev/null 2>&1 && flag="-f -f"
    # shellcheck disable=SC2086
    deadline 20 $word $flag
    [ "$word" = halt ] && while :; do sleep 3600; done
    echo $key > "$R/proc/sysrq-trigger"
    sleep 30
    exit 1
}
