#!/bin/sh
# The whole story on one machine: a receiver on a free port, a host let in, a real kernel crash
# sent by the system's ssh with the very commands of kdump-utils, and what one sees of it.
# Leaves nothing behind.
set -eu

cd "$(dirname "$0")/.."
receiver=.venv/bin/kdump-receiver
dump=tests/data/vmcore.flat
work=$(mktemp -d)
server=
clean() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean EXIT INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
shown() { printf '$ %s\n' "$*"; "$@"; }

say 'A receiver on a free port'
mkfifo "$work/ready"
"$receiver" --root "$work/spool" serve --listen 127.0.0.1:0 --web "" >"$work/ready" 2>"$work/log" &
server=$!
read -r ready <"$work/ready"
echo "$ready"
port=${ready##*:}
port=${port%%\"*}

say 'A host with a fresh key, let in'
ssh-keygen -q -t ed25519 -N '' -C root@crashnode1 -f "$work/kdump_id"
shown "$receiver" --root "$work/spool" host add crashnode1 --key "$work/kdump_id.pub"

say 'It crashes: its capture kernel sends the vmcore as kdump does'
options="-F none -i $work/kdump_id -o BatchMode=yes -o StrictHostKeyChecking=accept-new"
options="$options -o UserKnownHostsFile=$work/known_hosts -o LogLevel=ERROR"
directory=/var/crash/10.0.0.7-$(date +%Y-%m-%d-%T)
remote() {
    printf '$ ssh kdump@collector "%s"\n' "$1"
    # shellcheck disable=SC2086  # a list of options on purpose
    ssh $options -p "$port" kdump@127.0.0.1 "$1"
}
remote "mkdir -p $directory" </dev/null
remote "umask 0077 && dd bs=512 of='$directory/vmcore-incomplete'" <"$dump"
remote "mv '$directory/vmcore-incomplete' '$directory/vmcore.flat'" </dev/null
printf '$ ssh kdump@collector   (no command: is there a shell?)\n'
# shellcheck disable=SC2086
ssh $options -p "$port" kdump@127.0.0.1 </dev/null || echo "exit status $?"

say 'What the operator sees'
shown "$receiver" --root "$work/spool" list
id=$("$receiver" --root "$work/spool" list --json | sed 's/.*"id": "\([0-9a-f]*\)".*/\1/')
shown "$receiver" --root "$work/spool" info "$id"
shown "$receiver" --root "$work/spool" verify --deep "$id"
shown ls -l "$work/spool/${directory##*/}"

say 'Why it crashed'
shown cat "$work/spool/${directory##*/}/report.txt"

say 'The log of the server, one line for each piece of work'
cat "$work/log"
