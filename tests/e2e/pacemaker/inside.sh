#!/bin/sh
# The first process of a box: make a copy-on-write copy of the machine the root directory, then run the command.
# Started by box.py in new mount, pid, ipc and uts namespaces; arguments: FOLDER CHECKOUT COMMAND...
set -eu
folder=$1 checkout=$2
shift 2

root=$folder/root
mount --make-rprivate /
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" box "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/run/lock" "$root/run/netns" "$root/box" "$root$checkout"
# The checkout may lie on a file system of its own, which the overlay of / does not show.
mount --bind "$checkout" "$root$checkout"
mount --bind "$folder/out" "$root/box"
ip link set lo up 2>/dev/null || :
cd "$root"
exec chroot . /usr/bin/env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
