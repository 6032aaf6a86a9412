#!/bin/sh
# Install the programs the tests drive: the real clients and the real readers of dumps.
# Does nothing where all are there; asks for root only where one is missing.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }

need ssh openssh-client
need sshd openssh-server
need lftp lftp
need sshpass sshpass
need makedumpfile makedumpfile
need crash crash
need kdump-config kdump-tools
need fence_kdump fence-agents
need ip iproute2
need openssl openssl
need xmllint libxml2-utils
need busybox busybox
need chromium chromium
need shellcheck shellcheck
need xz xz-utils
need bzip2 bzip2
need lz4 lz4
need zstd zstd
need zsh zsh
need fish fish
need man man-db
need mandoc mandoc
# PostgreSQL's programs lie beside the path, one directory a version.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql

# `make crash` boots a guest that crashes, `make e2e` many
if [ "${1:-}" = crash ] || [ "${1:-}" = e2e ]; then
    need qemu-system-x86_64 qemu-system-x86
    need kexec kexec-tools
    need dracut dracut-core
    [ -d /usr/lib/dracut/modules.d/40network ] || missing="$missing dracut-network"
    need arping iputils-arping
    need dhclient isc-dhcp-client
    need busybox busybox
    need cpio cpio
    need debugfs e2fsprogs
    need dash dash
    need udevadm udev
fi
if [ "${1:-}" = e2e ]; then
    need ganesha.nfsd nfs-ganesha-vfs
    need mount.nfs nfs-common
    need debootstrap debootstrap
fi

[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "the tests need these packages, install them as root:$missing" >&2
    exit 1
fi
if command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    # kdump-tools and sshd are wanted as programs, not as running services.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words on purpose
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif command -v dnf >/dev/null 2>&1; then
    # The same programs under Fedora's names; kdump-tools exists on Debian only, its tests say so.
    dnf install -y -q openssh-clients openssh-server lftp sshpass makedumpfile crash \
        fence-agents-kdump iproute openssl libxml2 busybox ShellCheck postgresql-server xz bzip2 lz4 zstd chromium zsh fish man-db mandoc
else
    echo "no apt-get and no dnf here; install:$missing" >&2
    exit 1
fi
