"""``python -m fence.send`` is ``fence_kdump_send``."""

import sys

from fence.send.cli import main

sys.exit(main())
