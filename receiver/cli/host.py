import click


@click.group(name="host")
def group():
    pass


@group.command()
@click.argument("name")
@click.option("--key")
@click.pass_obj
def add(ctx, name, key):
    from receiver.hosts.keys import HostKeys

    HostKeys(ctx.settings.state).add(name, open(key).read())
