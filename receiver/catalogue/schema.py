"""The catalogue's tables: dumps, what happened (events), and what of it is still to be told (outbox).

A dump's row has what one searches by as columns, and the manifest whole beside it.
"""

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

# AUTOINCREMENT: an id that was trimmed away never comes again, or a reader's Last-Event-ID would lie.
COUNTER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", COUNTER, primary_key=True, autoincrement=True),
    sa.Column("time", sa.String(32), nullable=False, index=True),  # UTC, ISO 8601: sorts as text
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("host", sa.String(128)),
    sa.Column("dump", sa.String(32)),
    sa.Column("fields", sa.Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

# Where each target of notifications stands. All times in seconds of the epoch.
targets = sa.Table(
    "targets",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("after", sa.BigInteger, nullable=False),  # the journal is read up to this id
    sa.Column("pace", sa.Text, nullable=False),  # JSON of receiver.notify.pace.Pace
    sa.Column("delivered", sa.BigInteger, nullable=False),
    sa.Column("given_up", sa.BigInteger, nullable=False),
    sa.Column("delivered_at", sa.Float),
    sa.Column("error", sa.Text),  # of the last try, None when that went well
)

# A row an event and target, until it is delivered or given up.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", COUNTER, primary_key=True, autoincrement=True),
    sa.Column("target", sa.String(64), nullable=False, index=True),
    sa.Column("event", sa.BigInteger, nullable=False),
    sa.Column("entry", sa.Text, nullable=False),  # JSON; the journal may be trimmed meanwhile
    sa.Column("put_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)
