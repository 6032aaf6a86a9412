#!/bin/sh
# shellcheck disable=SC2034  # dracut reads them
# dracut's cmdline hook: there is no root file system to find.
[ -n "$root" ] || root=kdump
rootok=1
netroot=''
