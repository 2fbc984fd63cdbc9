"""Brings a store's tables to what this version of Potluck expects, before anything else touches them.

Rules: a store that is already there costs two SELECTs, a new SQLite file gets `migrations/head.sql`, and
only a store that is behind imports Alembic (35 MB, 0.4 s, measured), which is rare enough to pay. Several
processes may prepare the same new file at once; an upgrade is for the parent, before it starts workers.
"""

from __future__ import annotations

from pathlib import Path

from potluck.errors import ConfigError
from potluck.store.database import Connection, Database

HEAD = "0004"
MIGRATIONS = Path(__file__).parent / "migrations"


def version(connection: Connection) -> str:
    """The revision an SQLite store is at; "" when it is empty."""
    if connection.query("SELECT COUNT(*) FROM sqlite_master WHERE name = 'alembic_version'") == [(0,)]:
        return ""
    rows = connection.query("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else ""


def prepare(database: Database) -> None:
    """Make or upgrade the tables. Raises ConfigError when the store is newer than we are, or damaged."""
    if not database.lite:
        upgrade(database.url)  # SQLAlchemy is loaded already, and Alembic knows this database's own spelling
        return
    connection = database.connect()
    try:
        found = version(connection)
        if not found:
            with connection.transaction():
                # Asked again under the write lock: another worker may have been faster.
                found = version(connection)
                if not found:
                    _create(connection)
                    found = HEAD
    except database.dbapi.DatabaseError as error:
        raise ConfigError(
            f"The store {database.name} cannot be read ({error}). If it is damaged, move it away: Potluck "
            "starts over with a new one, without the old records and client keys."
        ) from error
    finally:
        connection.close()
    if found != HEAD:
        upgrade(database.url)


def upgrade(url: str, revision: str = "head") -> None:
    """Run Alembic's migrations over the database at `url`. Raises ConfigError when it is from the future."""
    import sqlalchemy
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise ConfigError(
            f"The store was made by a newer Potluck ({error}). Install that version again, or point "
            "`data_dir` somewhere else."
        ) from error
    finally:
        engine.dispose()


def _create(connection: Connection) -> None:
    script = (MIGRATIONS / "head.sql").read_text(encoding="utf-8")
    for statement in script.split(";\n"):
        if statement.strip():
            connection.query(statement)
