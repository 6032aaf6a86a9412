#!/bin/sh
# The short way: cards of known drivers and addresses need no udev. The plan's file `quick` says which:
# lines of `driver NAME`, `card NAME MAC`, then of ip-batch. Where one of them fails everything is undone,
# and dracut goes its own way.
# KDUMP_ROOT stands before /sys, /proc and /etc in tests.
R=${KDUMP_ROOT:-}
LIB=${KDUMP_LIB:-/usr/lib/kdump-net}
PLAN=${KDUMP_PLAN:-$R/etc/kdump-net}
mode=capture

# shellcheck source=sender/capture/wait.sh
. "$LIB/wait.sh"

# card_with MAC: sets `card` to the interface that has it
card_with() {
    for file in "$R"/sys/class/net/*/address; do
        read -r mac < "$file" || continue
        card=${file%/address} card=${card##*/}
        [ "$mac" != "$1" ] || return 0
    done
    return 1
}

has_carrier() {
    read -r carrier 2> /dev/null < "$R/sys/class/net/$1/carrier" && [ "$carrier" = 1 ]
}

network_up() {
    cards=''
    while read -r word name mac rest; do
        case $word in
            driver) modprobe -q "$name" || warn "no driver $name" ;;
            card)
                wait_for 10 card_with "$mac" || { warn "no card has the address $mac" && return 1; }
                if [ "$card" != "$name" ]; then ip link set "$card" name "$name" || return; fi
                cards="$cards $name"
                ;;
            *) echo "$word $name $mac $rest" ;;
        esac
    done < "$PLAN/quick" > "$R/run/kdump-net-batch"
    ip link set lo up
    ip -batch "$R/run/kdump-net-batch" || return
    # what is sent before the link is up is sent again only after a second, then after three
    for card in $cards; do
        wait_for 10 has_carrier "$card" || warn "$card has no link yet"
    done
}

if network_up; then
    exec sh "$LIB/save.sh"
fi
warn "the short way to the network failed: udev is asked"
for card in $cards; do
    ip address flush dev "$card"
    ip link set "$card" down
done
