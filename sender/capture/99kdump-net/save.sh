#!/bin/sh
# dracut's pre-mount and emergency hook: everything is there, or will not come.
sh /usr/lib/kdump-net/save.sh
