"""`kdump-receiver config`: is the settings file right?"""

from __future__ import annotations

import json

import click

from receiver.cli.context import Context


@click.group(name="config")
def group() -> None:
    """Look at the settings."""


@group.command()
@click.option("--json", "as_json", is_flag=True, help="The effective settings as JSON.")
@click.pass_obj
def check(context: Context, as_json: bool) -> None:
    """Check the settings file and print the settings that are in force.

    Errors name file, key and reason; exit status 78.
    """
    values = context.settings.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(values))
        return
    for key, value in values.items():
        click.echo(f"{key} = {json.dumps(value)}")
