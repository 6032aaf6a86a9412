import click


@click.group(name="token")
def group():
    pass
