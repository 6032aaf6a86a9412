#!/bin/sh
# in_capture_root.sh - run a command as if in the capture kernel of a Debian host.
#
# usage: in_capture_root.sh HOME DEFAULTS [VMCORE] -- COMMAND...
#
# In a mount namespace of its own (unshare -m), so that the machine itself sees nothing of it:
#   HOME      becomes root's home: .ssh/config, the key, known_hosts
#   DEFAULTS  becomes /etc/default/kdump-tools
#   VMCORE    becomes /proc/vmcore, which the kernel has only after a crash
#   /tmp and /var are empty
# Everything else, kdump-config, makedumpfile, ssh and scp, is the installed system's.
# The kernel's procfs takes no files, so /proc becomes a directory of links into the
# real one beside the file vmcore.
set -eu
home=$1 defaults=$2
shift 2
vmcore=
[ "$1" = -- ] || { vmcore=$1; shift; }
shift

root=$(getent passwd 0 | cut -d: -f6)
mount --bind "$home" "$root"
mount --bind "$defaults" /etc/default/kdump-tools
mount -t tmpfs none /var
mkdir -p /var/crash /var/lib/kdump /var/tmp
if [ -n "$vmcore" ]; then
    mkdir -p "$root/.proc" "$root/.links"
    mount --rbind /proc "$root/.proc"
    for entry in "$root"/.proc/[!0-9]*; do
        ln -s "$entry" "$root/.links/${entry##*/}"
    done
    : > "$root/.links/vmcore"
    mount --bind "$vmcore" "$root/.links/vmcore"
    mount --rbind "$root/.links" /proc
fi
mount -t tmpfs none /tmp
cd /
exec "$@"
