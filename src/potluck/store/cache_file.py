"""The file `cache.sqlite`: its tables, and the statements on them.

Rules: a cache may be deleted at any time, so that there are no migrations: a damaged file, or one of another layout,
starts over. Whoever drops entries counts `epoch` up, so that the workers that run forget what they have in memory.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from potluck.errors import ConfigError
from potluck.store.answers import Entry, Stats, Which
from potluck.store.database import Connection, Database

LAYOUT = 1  # PRAGMA user_version
LOOSE = 0.9  # of `max_bytes` that is left after something had to go

_log = logging.getLogger("potluck.cache")

_SCHEMA = (
    """CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, tenant TEXT NOT NULL,
    model TEXT NOT NULL, target TEXT NOT NULL, made REAL NOT NULL, expires REAL NOT NULL, used REAL NOT NULL,
    size INTEGER NOT NULL, meant INTEGER NOT NULL, entry BLOB NOT NULL)""",
    "CREATE INDEX entries_used ON entries (used)",
    "CREATE INDEX entries_expires ON entries (expires)",
    "CREATE TABLE tags (tag TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (tag, key)) WITHOUT ROWID",
    "CREATE INDEX tags_key ON tags (key)",
    "CREATE TABLE counts (outcome TEXT PRIMARY KEY, n INTEGER NOT NULL)",
    "CREATE TABLE epoch (n INTEGER NOT NULL)",
)
# Replaced, not updated: what was stored anew gets a new number, so that whoever reads on from a number sees it.
_PUT = """INSERT OR REPLACE INTO entries (key, tenant, model, target, made, expires, used, size, meant, entry)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode


def drop(connection: Connection, which: Which) -> int:
    """Deletes what matches and tells the workers that run: how many went. Raises sqlite3.Error."""
    where, values = ["1"], []
    for clause, value in (
        ("tenant = ?", which.tenant),
        ("key IN (SELECT key FROM tags WHERE tag = ?)", which.tag),
        ("(model = ? OR target = ?)", which.model),
        ("made < ?", which.before),
    ):
        if value is not None:
            where.append(clause)
            values += [value] * clause.count("?")
    with connection.transaction() as inside:
        gone = inside.write(f"DELETE FROM entries WHERE {' AND '.join(where)}", [values])  # noqa: S608
        inside.write("DELETE FROM tags WHERE key NOT IN (SELECT key FROM entries)", [()])
        inside.write("UPDATE epoch SET n = n + 1", [()])
    return gone


def stats(path: Path) -> Stats:
    """Of the file, also of one that another process writes. Raises ConfigError, sqlite3.Error."""
    with contextlib.closing(opened(path)) as connection:
        entries, size, oldest = connection.query("SELECT count(*), sum(size), min(made) FROM entries")[0]
        models = connection.query("SELECT target, count(*) FROM entries GROUP BY target ORDER BY 2 DESC, 1")
        counts = connection.query("SELECT outcome, n FROM counts ORDER BY outcome")
    return Stats(entries, size or 0, oldest or 0.0, dict(models), dict(counts))


def clear(path: Path, which: Which) -> int:
    """`drop` by hand, beside a gateway that runs. Raises ConfigError, sqlite3.Error."""
    with contextlib.closing(opened(path)) as connection:
        return drop(connection, which)


def put(inside: Connection, pending: list[tuple[Entry, float]]) -> None:
    rows = [
        (e.key, e.tenant, e.model, e.target, e.made, e.expires, now, e.size, int(bool(e.vector)), encode(e))
        for e, now in pending
    ]
    inside.write(_PUT, rows)
    inside.write("DELETE FROM tags WHERE key = ?", [(e.key,) for e, _ in pending])
    inside.write(
        "INSERT INTO tags (tag, key) VALUES (?, ?)", list({(t, e.key) for e, _ in pending for t in e.tags})
    )


def count(inside: Connection, counts: dict[str, int]) -> None:
    inside.write(
        "INSERT INTO counts (outcome, n) VALUES (?, ?) ON CONFLICT (outcome) DO UPDATE SET n = n + excluded.n",
        list(counts.items()),
    )


def shrink(connection: Connection, max_bytes: int, now: float) -> None:
    """What has expired goes, then what was not used for longest."""
    with connection.transaction() as inside:
        gone = inside.write("DELETE FROM entries WHERE expires <= ?", [(now,)])
        total = inside.query("SELECT sum(size) FROM entries")[0][0] or 0
        if total > max_bytes:
            excess, going = total - LOOSE * max_bytes, []
            for key, size in inside.query("SELECT key, size FROM entries ORDER BY used LIMIT 100000"):
                if excess <= 0:
                    break
                going.append((key,))
                excess -= size
            gone += inside.write("DELETE FROM entries WHERE key = ?", going)
        if gone:
            inside.write("DELETE FROM tags WHERE key NOT IN (SELECT key FROM entries)", [()])


def opened(path: Path) -> Connection:
    """The file with its tables. One that is damaged, or of another layout, is started over."""
    for last in (False, True):
        connection = None
        try:
            connection = Database.at(path).connect()
            _prepare(connection)
            return connection
        except (ConfigError, sqlite3.DatabaseError) as error:
            if connection is not None:
                connection.close()
            if last or isinstance(error, sqlite3.OperationalError):
                raise
            _log.warning("the cache %s is damaged (%s): it starts over", path, error)
            for each in _files(path):
                each.unlink(missing_ok=True)
    raise AssertionError("unreachable")


def _prepare(connection: Connection) -> None:
    if connection.query("PRAGMA user_version")[0][0] == LAYOUT:
        return
    with connection.transaction() as inside:
        if inside.query("PRAGMA user_version")[0][0] == LAYOUT:
            return  # another worker was faster
        for (name,) in inside.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ):
            inside.write(f"DROP TABLE {name}", [()])
        for statement in _SCHEMA:
            inside.write(statement, [()])
        inside.write("INSERT INTO epoch (n) VALUES (1)", [()])
        inside.write(f"PRAGMA user_version = {LAYOUT}", [()])


def _files(path: Path) -> Iterator[Path]:
    for suffix in ("", "-wal", "-shm"):
        yield path.with_name(path.name + suffix)
