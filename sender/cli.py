"""The command `kdump`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sender.failure import USAGE, Failure, NotPossible
from sender.host import Host
from sender.verbs import saved, service, show, trial
from sender.verbs.propagate import Options, propagate
from sender.verbs.session import CONF, Session

SERVICE = "{start|stop|status|restart|propagate}"


class Verbs(click.Group):
    """A wrong verb is answered as RHEL 6's init script answers it: the usage line, exit status 1."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            _usage(ctx)
            raise  # not reached


def _usage(ctx: click.Context) -> None:
    click.echo(f"Usage: {ctx.find_root().info_name} {SERVICE}", err=True)
    ctx.exit(USAGE)


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--conf", default=CONF, show_default=True, metavar="FILE", help="The kdump.conf to obey.")
@click.option("--root", default="/", hidden=True, metavar="DIR", help="The tree of files to work on.")
@click.version_option(package_name="kdump-net", prog_name="kdump")
@click.pass_context
def main(ctx: click.Context, conf: str, root: str) -> None:
    """Configure, propagate, load and capture kernel crash dumps.

    \b
    kdump start      load the crash kernel      kdump check      lint kdump.conf
    kdump stop       unload it                  kdump show       what will happen
    kdump status     0: loaded, 3: not          kdump set/unset  edit kdump.conf
    kdump restart    check, then load anew      kdump import     Debian's, SUSE's settings
    kdump propagate  bring the key to servers   kdump test       a dump that never was
    """
    if ctx.invoked_subcommand is None:
        _usage(ctx)
    ctx.obj = Session(Host(Path(root)), os.path.abspath(conf) if root == "/" else conf)


def _verb(action: Callable[..., int]) -> Callable[..., None]:
    """Run an action with the session: its number is the exit status, a `Failure` one line on stderr."""

    @click.pass_context
    def run(ctx: click.Context, /, **options: Any) -> None:
        session: Session = ctx.obj
        try:
            status = action(session, **options)
        except Failure as failure:
            session.warn(str(failure))
            status = failure.exit_code
        except PermissionError as error:
            session.warn(f"{error.filename}: permission denied; run kdump as root")
            status = 77
        ctx.exit(status)

    run.__doc__ = action.__doc__  # of which the help is made
    return run


main.command("start", help="Load the crash kernel; build its image where something changed.")(
    _verb(service.start)
)
main.command("stop", help="Unload the crash kernel.")(_verb(service.stop))
main.command("status", help="Exit status 0 when the crash kernel is loaded, 3 when not.")(
    _verb(service.status)
)
main.command("restart", help="Check and build first, then unload and load.")(_verb(service.restart))
main.command("deliver", help="Send the dumps that were kept here while their server did not answer.")(
    _verb(saved.deliver)
)


@main.command("propagate")
@click.option("--rsa", is_flag=True, help="Make an RSA key (3072 bits) rather than an ed25519 one.")
@click.option("--accept-new", is_flag=True, help="Pin a host key never seen before without asking.")
@click.option(
    "--fingerprint", default="", metavar="SHA256:…", help="The host key must have this fingerprint."
)
@click.option("--password-file", default="", metavar="FILE", help="Where the password or the token stands.")
@click.option("--timeout", "seconds", default=30.0, show_default=True, help="Seconds for each wait.")
@_verb
def _propagate(session: Session, **options: Any) -> int:
    """Bring the ssh key to every ssh target, pin its host key, and try the dump path."""
    return propagate(session, Options(**options))


@main.command("check")
@click.option("--syntax", is_flag=True, help="Only read the file; ask this host nothing.")
@_verb
def _check(session: Session, syntax: bool) -> int:
    """Say all that is wrong with kdump.conf, with line and remedy; exit status 78 with an error."""
    return show.check(session, deep=not syntax)


@main.command("show")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--words", is_flag=True, help="The table of all words of kdump.conf.")
@_verb
def _show(session: Session, as_json: bool, words: bool) -> int:
    """Say what kdump.conf means on this host: the plan, the kexec call, the image."""
    return show.words(session) if words else show.show(session, as_json)


@main.command("set", context_settings={"ignore_unknown_options": True})
@click.option("--add", is_flag=True, help="Keep the lines of the same word that are there.")
@click.argument("name")
@click.argument("value", nargs=-1, type=click.UNPROCESSED)
@_verb
def _set(session: Session, add: bool, name: str, value: tuple[str, ...]) -> int:
    """Write one word into kdump.conf, keeping its comments."""
    return show.change(session, name, " ".join(value), add)


@main.command("unset")
@click.argument("name")
@_verb
def _unset(session: Session, name: str) -> int:
    """Turn the lines of one word into comments."""
    return show.change(session, name, None)


@main.command("import")
@click.option("--write", is_flag=True, help="Write kdump.conf; without it the text is printed.")
@click.argument("file")
@_verb
def _import(session: Session, write: bool, file: str) -> int:
    """Read Debian's /etc/default/kdump-tools or SUSE's /etc/sysconfig/kdump."""
    return show.import_settings(session, file, write)


@main.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def _completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    \b
    bash  kdump completion bash > /usr/share/bash-completion/completions/kdump
    zsh   kdump completion zsh  > /usr/local/share/zsh/site-functions/_kdump
    fish  kdump completion fish > /etc/fish/completions/kdump.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    made = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(made(ctx.find_root().command, {}, "kdump", "_KDUMP_COMPLETE").source())


@main.command("test")
@click.option("--crash", is_flag=True, help="Panic this machine, after a confirmation.")
@_verb
def _test(session: Session, crash: bool) -> int:
    """Send a harmless dump to every ssh target by the capture kernel's own script, key and host keys."""
    if not crash:
        return trial.test(session)
    name = socket.gethostname()
    if not sys.stdin.isatty():
        raise NotPossible("--crash wants an answer from a terminal")
    if (
        click.prompt(
            f"This machine will crash NOW. Type its name ({name}) to go on", default="", show_default=False
        )
        != name
    ):
        raise NotPossible("not confirmed; nothing was done")
    return trial.crash(session)
