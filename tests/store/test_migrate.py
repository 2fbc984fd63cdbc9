from __future__ import annotations

import contextlib
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from potluck.errors import ConfigError
from potluck.store import schema
from potluck.store.database import Database
from potluck.store.migrate import HEAD, MIGRATIONS, prepare, upgrade, version
from potluck.store.records import Record
from potluck.store.reports import Recorded


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def differences(path: Path) -> list[object]:
    with opened(path) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))


def test_a_new_store_has_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    prepare(Database.at(tmp_path / "new.sqlite"))
    assert differences(tmp_path / "new.sqlite") == []


def test_the_migrations_lead_to_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'grown.sqlite'}")
    assert differences(tmp_path / "grown.sqlite") == []


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    prepare(Database.at(tmp_path / "new.sqlite"))
    with contextlib.closing(sqlite3.connect(tmp_path / "new.sqlite")) as raw:
        raw.execute("ALTER TABLE requests DROP COLUMN surface")
    assert len(differences(tmp_path / "new.sqlite")) == 1


def test_the_shipped_sql_is_what_the_schema_prints() -> None:
    assert (MIGRATIONS / "head.sql").read_text() == schema.head_sql(HEAD), "see schema.py for how to renew it"


def test_head_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_records_have_the_columns_of_their_table_in_order() -> None:
    columns = tuple(column.name for column in schema.requests.columns)
    assert Record.__struct_fields__ == columns
    assert Recorded.__struct_fields__ == columns


def test_a_store_that_is_ready_imports_neither_sqlalchemy_nor_alembic(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from potluck.store.database import Database; "
        "from potluck.store import counters, keyring, keys, migrate, records, reports; "
        "database = Database.at(Path(sys.argv[1])); migrate.prepare(database); migrate.prepare(database); "
        "keyring.Keyring(database).close(); records.Recorder(database).close(); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'sqlalchemy', 'alembic'}))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "potluck.sqlite")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_migrated_store_is_at_head_and_keeps_its_rows_when_prepared(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "old.sqlite")
    upgrade(database.url)
    with contextlib.closing(database.connect()) as connection:
        assert version(connection) == HEAD
        connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
    prepare(database)
    with contextlib.closing(database.connect()) as connection:
        assert connection.query("SELECT COUNT(*) FROM counters") == [(1,)]


def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "potluck.sqlite")
    prepare(database)
    with contextlib.closing(database.connect()) as connection:
        connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
    prepare(database)
    with contextlib.closing(database.connect()) as connection:
        assert connection.query("SELECT COUNT(*) FROM counters") == [(1,)]


def test_workers_that_start_together_make_the_store_once(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "potluck.sqlite")
    together = threading.Barrier(8)
    failures: list[BaseException] = []

    def start() -> None:
        together.wait()
        try:
            prepare(database)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert differences(database.path or Path()) == []


def test_a_store_from_a_newer_potluck_is_refused_with_what_to_do(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "potluck.sqlite")
    prepare(database)
    with contextlib.closing(database.connect()) as connection:
        connection.write("UPDATE alembic_version SET version_num = ?", [("9999",)])
    with pytest.raises(ConfigError, match="newer Potluck"):
        prepare(database)


@pytest.mark.parametrize(
    "content", [b"this is a letter, not a database\n" * 200, b"SQLite format 3\0" + b"x" * 9000]
)
def test_a_damaged_store_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "potluck.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="move it away"):
        prepare(Database.at(path))
    assert path.read_bytes() == content, "what is refused is left as it was"


def test_only_the_owner_can_read_the_store(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "data" / "potluck.sqlite")
    prepare(database)
    with contextlib.closing(database.connect()) as connection, connection.transaction():
        connection.query("DELETE FROM counters")
        for path in (tmp_path / "data").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_filled_store_of_an_older_version_keeps_its_rows_and_gets_the_tables_of_batches(
    tmp_path: Path,
) -> None:
    database = Database.at(tmp_path / "old.sqlite")
    upgrade(database.url, "0002")
    with contextlib.closing(database.connect()) as connection:
        connection.write(
            "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)",
            [(f"resp_{n}", "t", float(n), "", "[]", "{}") for n in range(500)],
        )
        connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
    prepare(database)
    with contextlib.closing(database.connect()) as connection:
        assert version(connection) == HEAD
        assert connection.query("SELECT COUNT(*) FROM responses") == [(500,)]
        for table in ("files", "batches", "batch_lines", "batch_answers"):
            assert connection.query(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert differences(tmp_path / "old.sqlite") == []
