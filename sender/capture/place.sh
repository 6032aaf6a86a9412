# shellcheck shell=sh
# The kinds of place a dump may go to. Sourced by capture.sh.
# Each kind has open_KIND, put_KIND NAME (standard input), core_KIND, close_KIND.

# incomplete NAME: its name until it is whole, as kdump-utils spells it: vmcore-dmesg-incomplete.txt
incomplete() {
    case $1 in
        *.*) echo "${1%.*}-incomplete.${1##*.}" ;;
        *) echo "$1-incomplete" ;;
    esac
}

# ---- ssh: the commands of kdump-utils' kdump.sh, so any of its servers knows them

ssh_options() {
    echo "-F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$KNOWN_HOSTS" \
        "-o GlobalKnownHostsFile=none -o IdentitiesOnly=yes -o ConnectTimeout=20 -o ServerAliveInterval=15" \
        "-o ServerAliveCountMax=4 -o CheckHostIP=no ${SSH_CIPHERS:+-o Ciphers=$SSH_CIPHERS} -i $SSH_KEY"
}

# The small commands share one connection, which saves a key exchange each; a server that does not want
# more than one session in it gets one connection each, by ssh's own doing.
shared_connection() {
    # shellcheck disable=SC2154  # capture.sh's
    [ "$mode" != capture ] || echo "-o ControlMaster=auto -o ControlPath=$T/ssh-%C -o ControlPersist=yes"
}

# remote COMMAND: one exec request on one connection; takes the place of the shell that calls it
remote() {
    # shellcheck disable=SC2046,SC2086  # lists of words
    exec ssh $(ssh_options) ${SSH_PORT:+-p "$SSH_PORT"} -l "$SSH_USER" "$SSH_HOST" "$1"
}

# remote_soon COMMAND: the same for small things, with standard input and a deadline
remote_soon() {
    answer=0
    # shellcheck disable=SC2046,SC2086
    deadline "$NET_TIMEOUT" ssh $(ssh_options) $(shared_connection) \
        ${SSH_PORT:+-p "$SSH_PORT"} -l "$SSH_USER" "$SSH_HOST" "$1" || answer=$?
    # a connection that hangs is not used again
    case $answer in 124 | 137 | 255) rm -f "$T"/ssh-* ;; esac
    return $answer
}

# the fastest cipher this CPU computes in hardware; the server takes the first it has, too
fastest_ciphers() {
    if grep -qwE 'aes|pmull' "$R/proc/cpuinfo" 2> /dev/null; then
        set -- aes128-gcm@openssh.com aes128-ctr chacha20-poly1305@openssh.com aes256-gcm@openssh.com aes256-ctr
    else
        set -- chacha20-poly1305@openssh.com aes128-ctr aes128-gcm@openssh.com aes256-ctr aes256-gcm@openssh.com
    fi
    ours=" $(ssh -Q cipher 2> /dev/null | tr '\n' ' ')"
    list=''
    for cipher; do
        case $ours in *" $cipher "*) list=$list,$cipher ;; esac
    done
    echo "${list#,}"
}

open_ssh() {
    SSH_CIPHERS=$(fastest_ciphers)
    dir=$(directory_for "$(address_towards "$ADDRESS")")
    say "saving to $SSH_USER@$SSH_HOST:$dir"
    shown_reason=''
    wait_for "$NET_TIMEOUT" make_remote_directory
}

make_remote_directory() {
    rc=0
    remote_soon "mkdir -p $dir" < /dev/null 2> "$T/ssh.err" || rc=$?
    [ $rc -ne 0 ] || return 0
    # the reason once, not every second
    [ "$(cat "$T/ssh.err")" = "$shown_reason" ] || cat "$T/ssh.err" >&2
    shown_reason=$(cat "$T/ssh.err")
    [ $rc -eq 255 ] || [ $rc -eq 124 ] || warn "the server refuses to make $dir ($rc)"
    return 1
}

# put_ssh NAME: whole or not at all under that name
put_ssh() {
    part=$(incomplete "$1")
    remote_soon "umask 0077 && dd of='$dir/$part'" && rename_remote "$part" "$1"
}

rename_remote() { remote_soon "mv '$dir/$1' '$dir/$2'" < /dev/null; }

core_ssh() {
    case $COLLECTOR_KIND in
        scp)
            # shellcheck disable=SC2046,SC2086
            scp -q $(ssh_options) ${SSH_PORT:+-P "$SSH_PORT"} "$VMCORE" "$(scp_place "$dir/vmcore-incomplete")" &
            TOTAL=$(bytes_of "$VMCORE")
            watched $! || return
            rename_remote vmcore-incomplete vmcore
            ;;
        *)
            final=vmcore.flat
            compressor=$(compressor_for "$SSH_COMPRESS")
            [ -z "$compressor" ] || final=$final.$(suffix_for "$compressor")
            send_core "umask 0077 && dd bs=512 of='$dir/vmcore-incomplete'" &&
                rename_remote vmcore-incomplete "$final"
            ;;
    esac
}

scp_place() {
    case $SSH_HOST in
        *:*) echo "$SSH_USER@[$SSH_HOST]:$1" ;;
        *) echo "$SSH_USER@$SSH_HOST:$1" ;;
    esac
}

# makedumpfile refuses threads with -F; with more than one CPU a threaded compressor behind it uses them
compressor_for() {
    cpus=$(grep -c '^processor' "$R/proc/cpuinfo" 2> /dev/null || echo 1)
    case $1 in
        auto) [ "$cpus" -gt 1 ] && command -v zstd > /dev/null 2>&1 && echo "zstd -q -1 -T$cpus" ;;
        zstd) echo "zstd -q -1 -T$cpus" ;;
        gzip) if command -v pigz > /dev/null 2>&1; then echo "pigz -1"; else echo "gzip -1"; fi ;;
        lz4) echo "lz4 -q -1" ;;
        xz) echo "xz -0 -T$cpus" ;;
    esac
    return 0
}

suffix_for() {
    case $1 in
        zstd*) echo zst ;;
        pigz* | gzip*) echo gz ;;
        *) echo "${1%% *}" ;;
    esac
}

# send_core COMMAND: the collector's stream, perhaps compressed, to COMMAND on the server.
# 0 only when the collector, the compressor and the server all said 0.
send_core() {
    rm -f "$T/pipe" "$T/core.status"
    mkfifo "$T/pipe" || return
    (
        collect "$VMCORE" > "$T/pipe" &
        reader=$!
        echo $reader > "$T/reader"
        wait $reader
        echo $? > "$T/core.status"
    ) &
    feeder=$!
    if [ -n "$compressor" ]; then
        rm -f "$T/pipe2" "$T/compress.status"
        mkfifo "$T/pipe2" || return
        # shellcheck disable=SC2086
        ($compressor < "$T/pipe" > "$T/pipe2"; echo $? > "$T/compress.status") &
        packer=$!
        remote "$1" < "$T/pipe2" &
    else
        packer=''
        remote "$1" < "$T/pipe" &
    fi
    sender=$!
    rc=0
    watched $sender "$(cat "$T/reader" 2> /dev/null)" || rc=$?
    if [ $rc -ne 0 ]; then
        # a collector whose reader is gone ends by itself, one that computes does not
        kill "$(cat "$T/reader" 2> /dev/null)" ${packer:+"$packer"} 2> /dev/null
    fi
    wait $feeder ${packer:+"$packer"} 2> /dev/null
    [ $rc -eq 0 ] || { warn "the server or the way to it failed ($rc)" && return $rc; }
    check_status core "the collector" || return
    [ -z "$compressor" ] || check_status compress "the compressor"
}

check_status() {
    read -r status < "$T/$1.status" || status=1
    [ "$status" = 0 ] || warn "$2 failed ($status)"
    return "$status"
}

close_ssh() {
    # shellcheck disable=SC2046,SC2086
    [ "$mode" != capture ] || deadline 5 ssh $(ssh_options) $(shared_connection) \
        ${SSH_PORT:+-p "$SSH_PORT"} -l "$SSH_USER" -O exit "$SSH_HOST" > /dev/null 2>&1
    return 0
}

# ---- file systems: local ones, nfs, virtiofs

open_fs() {
    # shellcheck disable=SC2153  # DEVICE is the plan's
    device=$(device_of "$DEVICE")
    case $FSTYPE in
        nfs* | virtiofs) ;;
        *)
            say "waiting for $DEVICE"
            wait_for "$DISK_TIMEOUT" device_ready || { warn "$DEVICE did not appear in $DISK_TIMEOUT s" && return 1; }
            check_filesystem || return
            ;;
    esac
    mkdir -p "$MNT"
    wait_for "$(mount_patience)" mount_once || return
    case $FSTYPE in
        nfs*) dir=$MNT$(directory_for "$(address_towards "$ADDRESS")") ;;
        *) dir=$MNT$(directory_for 127.0.0.1) ;;
    esac
    say "saving to $DEVICE:${dir#"$MNT"}"
    deadline "$NET_TIMEOUT" mkdir -p "$dir"
}

device_of() {
    case $1 in
        UUID=*) echo "$R/dev/disk/by-uuid/${1#UUID=}" ;;
        LABEL=*) echo "$R/dev/disk/by-label/${1#LABEL=}" ;;
        PARTUUID=*) echo "$R/dev/disk/by-partuuid/${1#PARTUUID=}" ;;
        PARTLABEL=*) echo "$R/dev/disk/by-partlabel/${1#PARTLABEL=}" ;;
        /dev/*) echo "$R$1" ;;
        *) echo "$1" ;;
    esac
}

device_ready() { [ -e "$device" ]; }

check_filesystem() {
    command -v "fsck.$FSTYPE" > /dev/null 2>&1 || return 0
    case $FSTYPE in xfs | btrfs) return 0 ;; esac
    rc=0
    "fsck.$FSTYPE" -p "$device" || rc=$?
    [ $rc -le 1 ] || warn "fsck of $DEVICE found what it could not mend ($rc)"
    [ $rc -le 1 ]
}

mount_patience() {
    case $FSTYPE in nfs*) echo "$NET_TIMEOUT" ;; *) echo 5 ;; esac
}

mount_once() {
    # shellcheck disable=SC2086
    deadline "$NET_TIMEOUT" mount -t "$FSTYPE" ${MOUNT_OPTIONS:+-o "$MOUNT_OPTIONS"} "$device" "$MNT" ||
        { say "mounting $DEVICE has not worked yet" && return 1; }
}

put_fs() {
    part=$dir/$(incomplete "$1")
    cat > "$part" && sync && mv "$part" "$dir/$1"
}

core_fs() {
    # shellcheck disable=SC2034  # wait.sh shows it
    case $COLLECTOR_KIND in copy | dd) TOTAL=$(bytes_of "$VMCORE") ;; esac
    collect "$VMCORE" "$dir/vmcore-incomplete" &
    watched $! || return
    sync
    mv "$dir/vmcore-incomplete" "$dir/vmcore" && sync
}

close_fs() {
    sync
    deadline "$NET_TIMEOUT" umount "$MNT" || deadline 10 umount -l "$MNT"
}

# ---- a raw partition: the flattened stream from its first byte

open_raw() {
    device=$(device_of "$DEVICE")
    say "saving to $DEVICE"
    wait_for "$DISK_TIMEOUT" device_ready || { warn "$DEVICE did not appear in $DISK_TIMEOUT s" && return 1; }
}

put_raw() { cat > /dev/null; } # holds one stream and no names

core_raw() {
    rm -f "$T/core.status"
    (
        (collect "$VMCORE")
        echo $? > "$T/core.status"
    ) | dd of="$device" bs=64k 2> "$T/dd" &
    watched $! || { cat "$T/dd" >&2 && return 1; }
    check_status core "the collector" || return
    blockdev --flushbufs "$device" 2> /dev/null || sync
}

close_raw() { :; }
