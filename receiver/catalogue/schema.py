"""The catalogue's one table: a row a dump, what one searches by as columns, the manifest whole beside it."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

dumps = sa.Table(
    "dumps",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("directory", sa.String(255), nullable=False, unique=True),
    sa.Column("host", sa.String(128), nullable=False, index=True),
    sa.Column("date", sa.String(32), nullable=False, index=True),  # UTC, ISO 8601: sorts as text
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
