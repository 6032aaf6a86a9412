"""What happened, and what of it is still to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.String(32), nullable=False, index=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("host", sa.String(128)),
        sa.Column("dump", sa.String(32)),
        sa.Column("fields", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "targets",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("after", sa.BigInteger, nullable=False),
        sa.Column("pace", sa.Text, nullable=False),
        sa.Column("delivered", sa.BigInteger, nullable=False),
        sa.Column("given_up", sa.BigInteger, nullable=False),
        sa.Column("delivered_at", sa.Float),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "outbox",
        sa.Column("id", COUNTER, primary_key=True, autoincrement=True),
        sa.Column("target", sa.String(64), nullable=False, index=True),
        sa.Column("event", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("put_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("outbox", "targets", "events"):
        op.drop_table(table)
