#!/bin/sh
# fence_kdump_send for a capture image: tells cluster nodes that this one is dumping.
#
#   fence_notify.sh [options] NODES...
#     -p, --ipport PORT         7410          -c, --count COUNT        0: until killed
#     -i, --interval SECONDS    10            -f, --family FAMILY      auto, ipv4, ipv6
#     -v, --verbose             say each message that is sent
#     --phase PHASE             started, dumping, saved or failed
#     --progress DONE[/TOTAL]   bytes
#     --node NAME               who we are, as kdump-fence knows us; else $FENCE_NODE, else the host name
#     --key FILE                sign; else $FENCE_KEY, else no signature
#     --test                    a drill: checked and shown by kdump-fence, taken for a crash by nobody
#
# Exit status 0, or 1 where the options are wrong or nothing could ever be sent.
# POSIX sh. Datagrams go out through bash's /dev/udp, which any bash has; without a bash the C
# fence_kdump_send takes over, for the bare message. The layout is docs/fence-protocol.md.

PROC=${FENCE_PROC:-/proc} # another /proc, for tests
port=7410 count=0 interval=10 family=auto verbose='' phase='' progress='' test=''
node=${FENCE_NODE:-} key=${FENCE_KEY:-} nodes=''

fail() {
    echo "[error]: $*" >&2
    exit 1
}

# number NAME TEXT LEAST MOST
number() {
    case $2 in
        '' | *[!0-9]* | ??????????*) fail "invalid $1 '$2'" ;;
    esac
    { [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; } || fail "invalid $1 '$2'"
}

# ---- bytes, written as two hexadecimal digits each

# hex_of_text TEXT
hex_of_text() {
    rest=$1
    while [ -n "$rest" ]; do
        tail=${rest#?}
        printf '%02x' "'${rest%"$tail"}"
        rest=$tail
    done
}

# bytes_of_hex HEX: the bytes themselves, by octal escapes, the only ones of POSIX's printf
bytes_of_hex() {
    rest=$1
    set --
    while [ -n "$rest" ]; do
        tail=${rest#??}
        set -- "$@" "0x${rest%"$tail"}"
        rest=$tail
    done
    # shellcheck disable=SC2059  # the format is what we make here
    printf "$(printf '\\%03o' "$@")"
}

# ---- the message

# field TYPE HEX
field() {
    printf '%s%02x%s' "$1" $((${#2} / 2)) "$2"
}

session() {
    id=''
    read -r id < "$PROC/sys/kernel/random/boot_id" 2> /dev/null
    while [ "$id" != "${id#*-}" ]; do
        id=${id%%-*}${id#*-}
    done
    [ ${#id} -eq 32 ] && echo "$id"
}

# milliseconds since this kernel started; /proc/uptime has two decimal places
uptime_ms() {
    read -r up _ < "$PROC/uptime" || return 1
    hundredths=${up#*.}
    echo $((${up%.*} * 1000 + ${hundredths#0} * 10))
}

# seconds since 1970; a capture image may have no date, but it has the clock
wall_clock() {
    date +%s 2> /dev/null || cat "${FENCE_SYS:-/sys}/class/rtc/rtc0/since_epoch" 2> /dev/null
}

code_of_phase() {
    case $1 in
        started) echo 01 ;;
        dumping) echo 02 ;;
        saved) echo 03 ;;
        failed) echo 04 ;;
    esac
}

# extension: all fields of the beat that is made now
extension() {
    printf 4b444e01
    [ -z "$node" ] || field 01 "$(hex_of_text "$node")"
    id=$(session) && field 02 "$id" && field 03 "$(printf '%016x' "$(uptime_ms)")"
    [ -z "$phase" ] || field 04 "$(code_of_phase "$phase")"
    [ -z "$progress" ] || field 05 "$(printf '%016x%016x' "$done_bytes" "$total_bytes")"
    seconds=$(wall_clock) && [ -n "$seconds" ] && field 06 "$(printf '%016x' $((seconds * 1000)))"
}

# beat: one whole datagram
beat() {
    if [ -n "$test" ]; then
        message=4b444e5400000001
    else
        message=402a301b01000000
    fi
    if [ -z "$extended" ]; then
        echo "$message"
        return
    fi
    message=$message$(extension)
    [ -z "$secret" ] || message=${message}7f24$key_id
    echo "$message${secret:+$(sha256 "$message" -mac HMAC -macopt "hexkey:$secret")}"
}

# sha256 HEX OPTIONS...: the hash of these bytes
sha256() {
    data=$1
    shift
    bytes_of_hex "$data" | openssl dgst -sha256 "$@" -r | { read -r digest _ && echo "$digest"; }
}

# the first key of the file: hexadecimal digits, one key a line, comments behind #
read_key() {
    secret=''
    [ -r "$1" ] || fail "cannot read the key in $1"
    while read -r line || [ -n "$line" ]; do
        line=${line%%#*}
        line=${line%%[[:space:]]*}
        [ -n "$line" ] && secret=$line && break
    done < "$1"
    case $secret in
        *[!0-9a-fA-F]*) secret='' ;;
    esac
    { [ $((${#secret} % 2)) -eq 0 ] && [ ${#secret} -ge 32 ] && [ ${#secret} -le 128 ]; } ||
        fail "the first line of $1 is no key of 32 to 128 hexadecimal digits"
    command -v openssl > /dev/null 2>&1 || fail "signing needs openssl, which this image does not hold"
    key_id=$(sha256 "$secret")
    key_id=${key_id%"${key_id#????????}"}
}

# ---- the way out

find_way() {
    if command -v bash > /dev/null 2>&1; then
        way=bash
    else
        for way in "${FENCE_KDUMP_SEND:-fence_kdump_send}" /usr/libexec/fence_kdump_send \
            /usr/lib/fence_kdump_send /usr/libexec/fence-agents/fence_kdump_send; do
            command -v "$way" > /dev/null 2>&1 || continue
            [ -z "$extended$test" ] ||
                echo "[error]: no bash here: $way sends no more than the bare message" >&2
            [ -z "$test" ] || exit 1 # its message would be taken for a crash
            return
        done
        fail "neither bash nor fence_kdump_send is here: nothing can be sent"
    fi
}

# send HEX ADDRESS. bash writes line by line, and a line end is a byte like any other: dd makes one datagram of it
send() {
    case $way in
        bash)
            # shellcheck disable=SC2016  # the arguments of that bash
            bytes_of_hex "$1" | bash -c 'dd obs=2048 2> /dev/null > "/dev/udp/$0/$1"' "$2" "$port"
            ;;
        *) "$way" -p "$port" -f "$family" -c 1 "$2" > /dev/null ;;
    esac 2> /dev/null
}

# addresses NODE: all of them where the image can tell, else the name, for bash to resolve
addresses() {
    case $family in
        ipv4) database=ahostsv4 ;;
        ipv6) database=ahostsv6 ;;
        *) database=ahosts ;;
    esac
    found=''
    if command -v getent > /dev/null 2>&1; then
        found=$(getent "$database" "$1" 2> /dev/null | while read -r address kind _; do
            [ "$kind" != DGRAM ] || echo "$address"
        done)
    fi
    echo "${found:-$1}"
}

send_to_all() {
    message=$(beat)
    for name in $nodes; do
        for address in $(addresses "$name"); do
            if send "$message" "$address"; then
                sent=yes
                [ -z "$verbose" ] || echo "[debug]: message sent to node '$address'"
            elif [ -n "$verbose" ]; then
                echo "[error]: failed to send to node '$name'" >&2
            fi
        done
    done
}

# ---- what was asked

while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
        --*=*)
            set -- "${option#*=}" "$@"
            option=${option%%=*}
            ;;
        -[pcif]?*)
            set -- "${option#-?}" "$@"
            option=${option%"${option#-?}"}
            ;;
    esac
    case $option in
        -p | --ipport | -c | --count | -i | --interval | -f | --family | --phase | --progress | --node | --key)
            [ $# -gt 0 ] || fail "option '$option' requires an argument"
            ;;
    esac
    case $option in
        -p | --ipport) number ipport "$1" 1 65535 && port=$1 && shift ;;
        -c | --count) number count "$1" 0 999999999 && count=$1 && shift ;;
        -i | --interval) number interval "$1" 1 999999999 && interval=$1 && shift ;;
        -f | --family)
            case $1 in
                auto | ipv4 | ipv6) family=$1 ;;
                *) fail "unsupported family '$1'" ;;
            esac
            shift
            ;;
        --phase)
            phase=$1
            [ -n "$(code_of_phase "$phase")" ] || fail "invalid phase '$1'"
            shift
            ;;
        --progress) progress=$1 && shift ;;
        --node) node=$1 && shift ;;
        --key) key=$1 && shift ;;
        --test) test=yes ;;
        -v* | --verbose) verbose=yes ;;
        --)
            nodes="$nodes $*"
            break
            ;;
        -*) fail "unknown option '$option'" ;;
        *) nodes="$nodes $option" ;;
    esac
done
[ -n "${nodes# }" ] || fail "no nodes are given: who shall be told?"

done_bytes=${progress%%/*} total_bytes=0
[ "$progress" = "$done_bytes" ] || total_bytes=${progress#*/}
[ -z "$progress" ] || case $done_bytes/$total_bytes in
    /* | */ | *[!0-9/]* | */*/* | ????????????????????*) fail "invalid progress '$progress'" ;;
esac
extended=$phase$progress$node$key$test
if [ -n "$extended" ] && [ -z "$node" ]; then
    read -r node < "$PROC/sys/kernel/hostname" || node=''
fi
case $node in
    *[!A-Za-z0-9._:-]* | ?????????????????????????????????????????????????????????????????*)
        fail "invalid node '$node': 1 to 64 letters, digits and . _ : - are allowed"
        ;;
esac
secret='' key_id=''
find_way
[ -z "$key" ] || read_key "$key"

# ---- until killed: beats at 0, i, 2i..., and until the first is over also at 1, 2, 4, 8 seconds,
# for the network of a capture kernel is late. Only the first kind counts.
sent='' step=1 beats=0 clock=0
while :; do
    send_to_all
    if [ $((clock % interval)) -eq 0 ]; then
        beats=$((beats + 1))
        [ "$count" -eq 0 ] || [ "$beats" -lt "$count" ] || break
    fi
    next=$(((clock / interval + 1) * interval))
    if [ "$step" -lt "$next" ] && [ "$step" -lt "$interval" ]; then
        next=$step
        step=$((step * 2))
    fi
    sleep $((next - clock))
    clock=$next
done
[ -n "$sent" ]
