"""The verbs and what they share: settings from the file and the command line."""

from __future__ import annotations

import os
from pathlib import Path

import click

from receiver.cli import config, dumps, host, log, token
from receiver.cli.context import Context
from receiver.settings import load


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
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
    ctx.obj = Context(load(file, root=root), file)
    if ctx.invoked_subcommand is None:
        ctx.invoke(dumps.list_dumps)


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


group.add_command(dumps.list_dumps)
group.add_command(dumps.info)
group.add_command(dumps.verify)
group.add_command(dumps.rebuild)
group.add_command(log.log)
group.add_command(log.triage)
group.add_command(log.explain)
group.add_command(host.group)
group.add_command(token.group)
group.add_command(config.group)
