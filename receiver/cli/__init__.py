"""The command `kdump-receiver`."""

from __future__ import annotations

import sys

import click

from receiver.cli.main import group
from receiver.cli.shown import plain_lines
from receiver.failure import Failure

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main() -> None:
    """Entry point: a failure is one sentence and an exit status, never a traceback."""
    try:
        status = group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Failure as failure:
        print(f"kdump-receiver: {plain_lines(str(failure))}", file=sys.stderr)
        sys.exit(failure.exit_code)
    sys.exit(status if isinstance(status, int) else 0)
