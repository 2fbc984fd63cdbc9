from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from potluck.errors import ConfigError
from potluck.store.database import Connection, Database


def test_a_transaction_that_fails_leaves_nothing_behind_and_frees_the_lock(
    database: Database, connection: Connection
) -> None:
    with contextlib.suppress(ZeroDivisionError), connection.transaction():
        connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
        raise ZeroDivisionError
    with contextlib.closing(database.connect()) as other:
        other.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("2", "a", "{}", 1.0)])
    assert connection.query("SELECT worker FROM counters") == [("2",)]


def test_a_write_of_many_rows_is_all_or_nothing(connection: Connection) -> None:
    rows = [("1", "a", "{}", 1.0), ("1", "a", "{}", 2.0)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", rows)
    assert connection.query("SELECT * FROM counters") == []


def test_a_database_without_its_driver_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="psycopg"):
        Database("postgresql+psycopg://localhost/potluck")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        Database("not a url")


def test_a_directory_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="permissions"):
        Database.at(tmp_path / "file" / "potluck.sqlite").connect()


def test_other_databases_are_reached_through_sqlalchemy(tmp_path: Path) -> None:
    database = Database(f"sqlite+pysqlite:///{tmp_path / 'other.sqlite'}")
    assert not database.lite
    assert database.dbapi.OperationalError is sqlite3.OperationalError
    with contextlib.closing(database.connect()) as connection:
        connection.query("CREATE TABLE t (a INTEGER)")
        assert connection.write("INSERT INTO t VALUES (?)", [(1,), (2,)]) == 2
        with contextlib.suppress(ZeroDivisionError), connection.transaction():
            connection.write("INSERT INTO t VALUES (?)", [(3,)])
            raise ZeroDivisionError
        assert connection.query("SELECT a FROM t WHERE a > ?", 1) == [(2,)]


def test_a_password_in_the_url_is_not_in_the_name_that_is_printed() -> None:
    url = "sqlite+pysqlite://user:hunter2@/x"
    try:
        name = Database(url).name
    except (ConfigError, sqlalchemy.exc.SQLAlchemyError) as error:
        name = str(error)
    assert "hunter2" not in name
