"""``python -m fence.agent`` is ``fence_kdump``."""

import sys

from fence.agent.cli import main

sys.exit(main())
