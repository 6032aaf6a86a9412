"""The verbs and what they share: settings from the file and the command line."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Final

import click

from receiver.cli.context import Context

# Where each verb lives: only the one that is asked for is loaded, and what it needs when it runs:
# `list` and `--help` shall answer at once.
_VERBS: Final = {
    "list": "dumps:list_dumps",
    "info": "dumps:info",
    "verify": "dumps:verify",
    "rebuild": "dumps:rebuild",
    "log": "log:log",
    "triage": "log:triage",
    "explain": "log:explain",
    "groups": "groups:list_groups",
    "group": "groups:show_group",
    "diff": "groups:compare",
    "regroup": "groups:regroup",
    "top": "top:top",
    "pin": "space:pin",
    "unpin": "space:unpin",
    "prune": "space:prune",
    "space": "space:space",
    "host": "host:group",
    "token": "token:group",
    "config": "config:group",
    "completion": "complete:completion",
}


class Verbs(click.Group):
    """A group whose verbs are loaded when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_VERBS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return super().get_command(ctx, cmd_name)
        module, _, name = _VERBS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"receiver.cli.{module}"), name)
        return command


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="Settings file. [/etc/kdump-net/receiver.toml]"
)
@click.option("--root", type=click.Path(path_type=Path), help="Directory that holds the dumps.")
@click.version_option(package_name="kdump-net", prog_name="kdump-receiver")
@click.pass_context
def group(ctx: click.Context, file: Path | None, root: Path | None) -> None:
    """Receive kernel crash dumps from unmodified kdump clients, and look at them.

    Without a verb: list the dumps.
    """
    os.umask(0o077)  # what we write is ours alone; dumps hold the memory of machines
    ctx.obj = Context(file, root)
    if ctx.invoked_subcommand is None:
        from receiver.cli.dumps import list_dumps

        ctx.invoke(list_dumps)


@group.command()
@click.option(
    "--listen", "listen", multiple=True, metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."
)
@click.pass_obj
def serve(context: Context, listen: tuple[str, ...]) -> int:
    """Receive dumps until SIGTERM.

    Prints one line of JSON, {"event": "listening", "ssh": "HOST:PORT"}, when clients may come.
    """
    from receiver import run  # asyncssh and the rest take a while to load; `list` need not wait for them

    return run.serve(context.settings, listen)
