"""``validate-all``: what can be wrong in the options. Whether a daemon runs is what ``monitor`` asks."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fence.agent import daemons, listen
from fence.agent.options import FAILED, OK
from fence.pair.flags import BadValue

if TYPE_CHECKING:
    from fence.agent.options import Request
    from fence.pair.say import Voice


def validate(request: Request, voice: Voice) -> int:
    """0 where ``off`` could work with these options.

    Raises:
        BadValue: a socket, URL, token or certificate file, or a grade, cannot be used.
    """
    asked = daemons.configured(request)
    for path in request.socket:
        try:
            kind = os.stat(path).st_mode
        except OSError as error:  # cluster tools check before the daemon is set up, and on other hosts
            voice.error(f"socket '{path}' cannot be seen yet ({error.strerror})")
            continue
        if not stat.S_ISSOCK(kind):
            raise BadValue(f"invalid socket '{path}': it is no socket")
    if request.ca_file and not os.access(request.ca_file, os.R_OK):
        raise BadValue(f"invalid ca_file '{request.ca_file}': it cannot be read")
    if request.wanted and not asked and not listen.addresses_of(request, voice):
        # Pacemaker makes a name up, node1, where it validates a device without a target: said, but no fault.
        return OK if "PCMK_service" in os.environ else FAILED
    return OK
