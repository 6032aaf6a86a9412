"""What runs in the capture kernel: POSIX sh, because nothing else is sure to be there.

``capture.sh`` is the flow, ``wait.sh`` every wait with its deadline, ``place.sh`` the kinds of
target, ``hooks/`` where dracut calls it, ``99kdump-net/`` the dracut module.
"""

from pathlib import Path

HERE = Path(__file__).parent
