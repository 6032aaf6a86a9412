"""The table of dumps."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "dumps",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("directory", sa.String(255), nullable=False, unique=True),
        sa.Column("host", sa.String(128), nullable=False, index=True),
        sa.Column("date", sa.String(32), nullable=False, index=True),
        sa.Column("verdict", sa.String(16), nullable=False, index=True),
        sa.Column("client", sa.String(32), nullable=False),
        sa.Column("kernel_release", sa.String(256)),
        sa.Column("build_id", sa.String(64), index=True),
        sa.Column("crash_time", sa.String(32)),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.String(64), index=True),
        sa.Column("unfinished", sa.Boolean, nullable=False, index=True),
        sa.Column("manifest", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("dumps")
