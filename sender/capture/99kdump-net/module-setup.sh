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
    [[ -n $(_needs ciphers) ]] || _ciphers
}

# busybox in the place of the programs that it has, where only our own scripts and dracut's call them
_applets() {
    local name keep
    keep=" $(_needs keep | tr '\n' ' ')"
    [[ $keep == *' * '* || ! -x $initdir/usr/bin/busybox ]] && return 0
    # a shell or `cat` of busybox's may differ between distributions; what it lacks stays as it is
    for name in $(busybox --list); do
        [[ " $_applet_names " == *" $name "* && $keep != *" $name "* ]] || continue
        [[ -e $initdir/usr/bin/$name || -L $initdir/usr/bin/$name ]] || continue
        ln -sfn busybox "$initdir/usr/bin/$name"
    done
    [[ $(readlink "$initdir/usr/bin/awk") == busybox ]] && rm -f "$initdir"/usr/bin/[gm]awk
    return 0
}
_applet_names='awk cat chmod chown cp date dd dmesg expr grep less ln ls mkdir mkfifo mknod mv readlink rm sed sleep sync tr uname'

# The kernel's ciphers, which encrypted disks need and ssh does not: a tenth of the memory. Checksums stay.
_ciphers() {
    local home=$initdir/usr/lib/modules/$kernel list
    [[ -d $home/kernel ]] || home=$initdir/lib/modules/$kernel
    [[ -d $home/kernel ]] || return 0
    list=$(cd "$home" && find kernel -name '*.ko*')
    # what another module needs, directly or not, and what the plan names, stays
    awk -v named=" $(_needs driver | tr '\n' ' ' | tr '_' '-') " -v listed="$list" '
        function short(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); gsub("_", "-", path); return path }
        function cipher(path) { return path ~ /kernel\/(crypto|arch\/[^\/]*\/crypto|lib\/(crypto|raid6|zstd|lz4))\// && path !~ /crc|xxhash/ }
        BEGIN { count = split(listed, here, "\n"); for (i = 1; i <= count; i++) present[short(here[i])] = 1 }
        {
            sub(/:$/, "", $1)
            name = short($1)
            if (!(name in present) || (cipher($1) && index(named, " " name " ") == 0)) next
            for (i = 1; i <= NF; i++) keep[short($i)] = 1
        }
        END { for (i = 1; i <= count; i++) if (cipher(here[i]) && !(short(here[i]) in keep)) print here[i] }
    ' "${srcmods:-/lib/modules/$kernel}/modules.dep" | (cd "$home" && xargs -r rm -f)
}

# What other modules bring along for what this image never does: a third of its memory.
_slim() {
    _applets
    rm -f "$initdir"/usr/bin/loginctl
    # leases are asked for only where the host has one
    [[ -n $(_needs lease) ]] || rm -f "$initdir"/usr/sbin/dhclient "$initdir"/usr/bin/pgrep
    local library
    for library in libsystemd-shared libproc2.so libsystemd.so libgcrypt.so libgpg-error.so \
        libgmp.so libm.so libtinfo.so libreadline.so libmpfr.so libsigsegv.so; do
        # the name of a library stands in all that need it
        grep -rqsF --exclude="$library*" "$library" "$initdir"/usr/bin "$initdir"/usr/sbin "$initdir"/usr/lib* ||
            find "$initdir"/usr/ -name "$library*" -delete
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
    dracut_module_included systemd || _slim
    inst_hook cmdline 00 "$moddir/quick.sh"
    # behind parse-root-opts (10), which asks the command line for a root
    inst_hook cmdline 12 "$moddir/cmdline.sh"
    inst_hook initqueue/online 05 "$moddir/online.sh"
    inst_hook initqueue/finished 05 "$moddir/finished.sh"
    inst_hook pre-mount 05 "$moddir/save.sh"
    inst_hook emergency 05 "$moddir/save.sh"
    dracut_need_initqueue
}
