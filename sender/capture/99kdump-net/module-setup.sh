#!/bin/bash
# The dracut module: programs, libraries and kernel modules of a capture image.
# What changes more often (the plan, keys, scripts) lies in a second archive behind it.
# kdumpnet_needs names the file that `kdump start` wrote: lines of WORD VALUE...

# shellcheck disable=SC2154  # initdir, moddir are dracut's

# called by dracut
check() {
    # only when asked for
    return 255
}

_needs() {
    local word value
    while read -r word value; do
        [[ $word == "$1" ]] && echo "$value"
    done < "${kdumpnet_needs:?}"
    return 0
}

# called by dracut
depends() {
    _needs module | tr '\n' ' '
}

# called by dracut
installkernel() {
    local driver
    for driver in $(_needs driver); do
        hostonly='' instmods "$driver" || dwarn "kdump-net: no kernel module $driver"
    done
}

# called by dracut
install() {
    local program
    for program in $(_needs program); do
        inst_multiple "$program" || return 1
    done
    for program in $(_needs perhaps); do
        inst_multiple -o "$program"
    done
    # ssh wants to know who it is, and names come from /etc/hosts first
    [[ -e $initdir/etc/passwd ]] || echo 'root:x:0:0::/root:/bin/sh' > "$initdir/etc/passwd"
    echo 'hosts: files dns' > "$initdir/etc/nsswitch.conf"
    echo 'passwd: files' >> "$initdir/etc/nsswitch.conf"
    echo 'group: files' >> "$initdir/etc/nsswitch.conf"
    inst_libdir_file 'libnss_files.so*' 'libnss_dns.so*' 'libresolv.so*'
    # glibc loads it when a thread ends; ldd does not see it
    inst_libdir_file 'libgcc_s.so*'
    mkdir -p "$initdir/root" "$initdir/run" "$initdir/etc/kdump-net"
    chmod 700 "$initdir/root"
    # leases are asked for only where the host has one; the client is a tenth of the image
    [[ -n $(_needs lease) ]] || rm -f "$initdir"/usr/sbin/dhclient "$initdir"/sbin/dhclient
    inst_hook cmdline 00 "$moddir/quick.sh"
    # behind parse-root-opts (10), which asks the command line for a root
    inst_hook cmdline 12 "$moddir/cmdline.sh"
    inst_hook initqueue/online 05 "$moddir/online.sh"
    inst_hook initqueue/finished 05 "$moddir/finished.sh"
    inst_hook pre-mount 05 "$moddir/save.sh"
    inst_hook emergency 05 "$moddir/save.sh"
    dracut_need_initqueue
}
