"""An empty database of each kind: SQLite, and a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.catalogue.store import Catalogue

SECONDS = 60


def program(name: str) -> str:
    """One of PostgreSQL's programs, wherever the distribution puts them."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        pytest.skip(f"no {name} here: the catalogue on PostgreSQL was not tested")
    return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A private PostgreSQL on a Unix socket; gives the URL without the database's name."""
    initdb, postgres = program("initdb"), program("postgres")
    uid = gid = None
    if os.geteuid() == 0:  # initdb refuses to be root
        nobody = next(
            (one for one in pwd.getpwall() if one.pw_name in {"postgres", "nobody"}), pwd.getpwuid(65534)
        )
        uid, gid = nobody.pw_uid, nobody.pw_gid
    # A socket's path has at most 107 bytes: pytest's own directories are too deep.
    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        if uid is not None and gid is not None:
            os.chown(place, uid, gid)
        data = f"{place}/data"
        command = [initdb, "-D", data, "-U", "kdump", "-A", "trust", "-N", "--no-locale", "-E", "UTF8"]
        subprocess.run(
            command, check=True, capture_output=True, timeout=SECONDS, cwd=place, user=uid, group=gid
        )
        command = [postgres, "-D", data, "-k", place, "-c", "listen_addresses=", "-F"]
        with open(f"{place}/log", "wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=place, user=uid, group=gid)
        try:
            ready = [program("pg_isready"), "-h", place, "-t", "1"]
            for _ in range(SECONDS * 5):
                if subprocess.run(ready, capture_output=True, timeout=SECONDS).returncode == 0:
                    break
                assert server.poll() is None, Path(f"{place}/log").read_text()
                try:
                    server.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
            yield f"postgresql://kdump@/{{}}?host={place}"
        finally:
            server.terminate()
            server.wait(SECONDS)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    cluster: str = request.getfixturevalue("cluster")
    name = f"kdump_{os.urandom(6).hex()}"
    engine = sa.create_engine(
        cluster.format("postgres").replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    engine.dispose()
    return cluster.format(name)


@pytest.fixture
def catalogue(url: str, tmp_path: Path) -> Iterator[Catalogue]:
    opened = Catalogue(url, tmp_path / "state")
    yield opened
    opened.close()
