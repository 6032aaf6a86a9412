"""alembic runs this; the connection comes from the catalogue that asked for it."""

from alembic import context

from receiver.catalogue.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
