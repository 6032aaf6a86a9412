"""The remote texts of every ssh-copy-id met with kdump, by version: what `propagate` really sends.

Origin: each script run with a fake `ssh` that prints its last argument. The keys follow
on standard input. 8.4p1 under dash loses its here-document and sends an empty script.
"""

from __future__ import annotations

_RESTORECON_EARLY = "test -x /sbin/restorecon && /sbin/restorecon .ssh .ssh/authorized_keys"
_RESTORECON = "if type restorecon >/dev/null 2>&1 ; then restorecon -F .ssh .ssh/authorized_keys ; fi"
_TAIL_9_9 = (
    'AUTH_KEY_DIR=`dirname "${AUTH_KEY_FILE}"`; mkdir -p "${AUTH_KEY_DIR}" && '
    '{ [ -z "`tail -1c "${AUTH_KEY_FILE}" 2>/dev/null`" ] || echo >> "${AUTH_KEY_FILE}" || exit 1; } && '
    'cat >> "${AUTH_KEY_FILE}" || exit 1; if type restorecon >/dev/null 2>&1; then '
    'restorecon -F "${AUTH_KEY_DIR}" "${AUTH_KEY_FILE}"; fi '
)

INSTALLERS = {
    "RHEL5 kdump init script, 2006": (
        "mkdir -p ~kdump/.ssh; chmod 700 ~kdump/.ssh;  cat >> ~kdump/.ssh/authorized_keys2"
    ),
    "RHEL5 kdump init script, 2007": (
        "mkdir -p ~kdump/.ssh; chmod 700 ~kdump/.ssh;  cat >> ~kdump/.ssh/authorized_keys2; "
        "chmod 600 ~kdump/.ssh/authorized_keys2"
    ),
    "4.3p2 to 5.3p1": "umask 077; test -d .ssh || mkdir .ssh ; cat >> .ssh/authorized_keys",
    "RHEL6 early": (
        f"umask 077; test -d .ssh || mkdir .ssh ; cat >> .ssh/authorized_keys; {_RESTORECON_EARLY}"
    ),
    "RHEL6 late": (
        "exec sh -c 'cd; umask 077; test -d .ssh || mkdir .ssh ; cat >> .ssh/authorized_keys && "
        f"({_RESTORECON_EARLY} >/dev/null 2>&1 || true)'"
    ),
    "6.1p1": "umask 077; test -d ~/.ssh || mkdir ~/.ssh ; cat >> ~/.ssh/authorized_keys",
    "6.6p1": (
        "\n\t\tumask 077 ;\n\t\tmkdir -p .ssh && cat >> .ssh/authorized_keys || exit 1 ;\n"
        "\t\tif type restorecon >/dev/null 2>&1 ; then restorecon -F .ssh .ssh/authorized_keys ; fi"
    ),
    "7.4p1, RHEL7": (
        "exec sh -c 'cd ; umask 077 ; mkdir -p .ssh && cat >> .ssh/authorized_keys || exit 1 ; "
        f"{_RESTORECON}'"
    ),
    "8.0p1, RHEL8": (
        "exec sh -c 'cd ; umask 077 ; mkdir -p .ssh && "
        "{ [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ] || echo >> .ssh/authorized_keys ; } && "
        f"cat >> .ssh/authorized_keys || exit 1 ; {_RESTORECON}'"
    ),
    "8.4p1 under dash": "exec sh -c ''",
    "8.7p1 to 9.2p1": (
        'exec sh -c \'cd; umask 077; mkdir -p ".ssh" && '
        "{ [ -z `tail -1c .ssh/authorized_keys 2>/dev/null` ] || "
        'echo >> ".ssh/authorized_keys" || exit 1; } && cat >> ".ssh/authorized_keys" || exit 1; '
        'if type restorecon >/dev/null 2>&1; then restorecon -F ".ssh" ".ssh/authorized_keys"; fi \''
    ),
    "9.9p1": (
        'exec sh -c \' cd; umask 077; AUTH_KEY_FILE=".ssh/authorized_keys"; '
        '[ -f /etc/openwrt_release ] && [ "$LOGNAME" = "root" ] && '
        f"AUTH_KEY_FILE=/etc/dropbear/authorized_keys; {_TAIL_9_9}'"
    ),
    "9.9p1 -t .ssh/kdump_keys": (
        'exec sh -c \' cd; umask 077; AUTH_KEY_FILE=".ssh/kdump_keys"; '
        '[ -f /etc/openwrt_release ] && [ "$LOGNAME" = "root" ] && '
        f"AUTH_KEY_FILE=/etc/dropbear/authorized_keys; {_TAIL_9_9}'"
    ),
    "10.5p1": (
        'exec sh -c \' cd; umask 077; AUTH_KEY_FILE=".ssh/authorized_keys"; '
        "[ -f /etc/openwrt_release ] && "
        '{ [ "$LOGNAME" = "root" ] || [ "$(id -u)" = "0" ]; } && '
        "AUTH_KEY_FILE=/etc/dropbear/authorized_keys; "
        '[ "`uname -s`" = "Haiku" ] && AUTH_KEY_FILE=config/settings/ssh/authorized_keys; '
        f"{_TAIL_9_9}'"
    ),
}
