"""kdump-fence: the command."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fence.client import Client
from fence.events import GRADES
from fence.failure import Failure
from fence.settings import Settings, load

COLOURS = {"dumping": "yellow", "saved": "green", "failed": "red", "silent": "magenta", "quiet": "dim"}
F = TypeVar("F", bound=Callable[..., object])


class Group(click.Group):
    """Ends with one line and an exit status where somebody outside must act."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but for our own failures."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            click.echo(f"kdump-fence: {failure}", err=True)
            ctx.exit(failure.exit_code)
        except BrokenPipeError:
            sys.stderr.close()  # `| head` has seen enough
            ctx.exit(0)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdump-net", prog_name="kdump-fence")
def main() -> None:
    """Hears from crashed nodes and answers cluster managers: is it off, and how well is that proven?"""


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The settings; /etc/kdump-net/fence.toml if it is there.",
)
SOCKET = click.option("--socket", type=click.Path(path_type=Path), help="The daemon's Unix socket.")
JSON = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@main.command()
@CONFIG
@click.option(
    "--listen", multiple=True, metavar="ADDR:PORT", help="Listen for datagrams here; may be repeated."
)
@SOCKET
@click.option("--http", metavar="ADDR:PORT", help="Serve the API by TCP, too.")
@click.option("--state-dir", metavar="DIR", help="Where the journal lies.")
@click.option("--node", "nodes", multiple=True, metavar="NAME[=ADDR,…]", help="A node; may be repeated.")
@click.option("--quiet", is_flag=True, help="No line for each event on stderr.")
def serve(
    config: Path | None,
    listen: tuple[str, ...],
    socket: Path | None,
    http: str | None,
    state_dir: str | None,
    nodes: tuple[str, ...],
    quiet: bool,
) -> None:
    """Run the daemon. Says a line of JSON on stdout when it listens."""
    from fence.run import serve as run  # the daemon's libraries: other commands start without them

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if quiet else logging.INFO,
        format="%(levelname).1s %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    overrides = {
        "listen": listen or None,
        "api.socket": socket,
        "api.http": http,
        "state_dir": state_dir,
    }
    run(lambda: load(config, overrides), config or "the settings", nodes)


@main.command()
@CONFIG
@SOCKET
@JSON
@click.argument("names", nargs=-1)
def nodes(config: Path | None, socket: Path | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Show the nodes, or those named."""
    with _client(config, socket) as client:
        found = client.nodes()
    if names:
        found = [node for node in found if node["name"] in names]
    if as_json:
        click.echo(json.dumps({"nodes": found}))
        return
    table = Table("node", "state", "off", "evidence", "beats", "age", "from", "alive", "alarms", box=None)
    for node in found:
        alive = node["alive"]
        table.add_row(
            node["name"],
            Text(node["state"], style=COLOURS.get(node["state"], "")),
            Text("yes", style="bold green") if node["off"] else Text("no"),
            f"{node['grade']} (asks {node['policy']})",
            str(node["beats"] or ""),
            _age(node["age_seconds"]),
            node["heard_from"] or ", ".join(node["addresses"][:2]) or Text("unresolved", style="red"),
            Text(alive["liveness"], style="" if alive["known"] else "dim"),
            Text(str(node["alarms"]), style="red") if node["alarms"] else "",
        )
    _console().print(table)


@main.command()
@CONFIG
@SOCKET
@JSON
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Only events after this one.")
@click.option("--node", metavar="NAME", help="Only this node's.")
def events(
    config: Path | None, socket: Path | None, as_json: bool, follow: bool, since: int | None, node: str | None
) -> None:
    """Show the journal: every change and every decision."""
    console = _console()
    with _client(config, socket) as client:
        for event in client.follow(since, node) if follow else client.events(since or 0, node):
            if as_json:
                click.echo(json.dumps(event))
            else:
                console.print(_event_line(event), soft_wrap=True)
            sys.stdout.flush()


@main.command()
@CONFIG
@SOCKET
@JSON
@click.argument("name")
@click.option("--timeout", type=click.FloatRange(0, 3600), default=60.0, show_default=True, help="Seconds.")
@click.option(
    "--grade", type=click.Choice([name for name, grade in GRADES.items() if grade]), help="Ask for more."
)
def wait(
    config: Path | None, socket: Path | None, as_json: bool, name: str, timeout: float, grade: str | None
) -> None:
    """Wait until NAME is proven to be off: exit status 0; 1 where it was not in time."""
    with _client(config, socket) as client:
        answer = client.off(name, timeout, grade)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(
            f"{answer['node']}: {'off' if answer['off'] else 'not proven to be off'}: {answer['reason']}"
        )
    sys.exit(0 if answer["off"] else 1)


@main.command()
@CONFIG
@SOCKET
@JSON
@click.option("--offline", is_flag=True, help="Only read the settings; no daemon needs to run.")
def check(config: Path | None, socket: Path | None, as_json: bool, offline: bool) -> None:
    """Check settings and daemon: exit status 0 where all is well, 1 where not, 78 for the settings."""
    from fence.roster import roster

    settings = load(config, {})
    listed = roster(settings, config or "the settings", ())
    if offline:
        click.echo(
            json.dumps({"ok": True, "nodes": len(listed)}) if as_json else f"{len(listed)} nodes, all well"
        )
        return
    with Client(socket or settings.api.socket) as client:
        health = client.health()
    if as_json:
        click.echo(json.dumps(health))
    else:
        where = ", ".join(f"{each['address']} port {each['port']}" for each in health["listening"])
        click.echo(f"listens on UDP {where}; {health['nodes']} nodes, {health['waits']} questions wait")
        click.echo(f"{health['datagrams']} datagrams, {health['dropped']} dropped, {health['junk']} junk")
        for problem in health["problems"]:
            click.echo(f"problem: {problem}")
    sys.exit(0 if health["ok"] else 1)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    \b
    bash  kdump-fence completion bash > /usr/share/bash-completion/completions/kdump-fence
    zsh   kdump-fence completion zsh  > /usr/local/share/zsh/site-functions/_kdump-fence
    fish  kdump-fence completion fish > /etc/fish/completions/kdump-fence.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    made = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(made(ctx.find_root().command, {}, "kdump-fence", "_KDUMP_FENCE_COMPLETE").source())


def _client(config: Path | None, socket: Path | None) -> Client:
    if socket is None:
        settings: Settings = load(config, {})
        socket = settings.api.socket
    return Client(socket)


def _console() -> Console:
    return Console(highlight=False)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _event_line(event: dict[str, Any]) -> Text:
    data = event["data"]
    kind = event["type"].removeprefix("kdump-net.fence.")
    said = {key: value for key, value in data.items() if key not in ("node", "reason", "state")}
    rest = " ".join(f"{key}={value}" for key, value in said.items())
    line = Text(f"{event['id']:>6} {event['time']} ")
    line.append(f"{kind:<13} ", style=COLOURS.get(data.get("state", ""), "red" if kind == "alarm" else ""))
    line.append(f"{data.get('node', ''):<12} {data.get('reason', '')}")
    line.append(f"  {rest}", style="dim")
    return line
