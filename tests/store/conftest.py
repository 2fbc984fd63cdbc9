from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from potluck.store.database import Connection, Database
from potluck.store.migrate import prepare

LITE, OTHER = "sqlite:///{}", "sqlite+pysqlite:///{}?check_same_thread=false&timeout=0.2"


@pytest.fixture(params=[LITE, OTHER], ids=["sqlite", "sqlalchemy"])
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Database:
    """A store that is ready, in a file of its own, both ways one is reached.

    SQLite under SQLAlchemy's own name stands in for PostgreSQL: the same road, another driver at its end.
    """
    database = Database(request.param.format(tmp_path / "potluck.sqlite"))
    prepare(database)
    return database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    connection = database.connect()
    yield connection
    connection.close()
