"""The tables, as SQLAlchemy Core describes them: what migrations are compared with and new stores made from.

Rules: a serving process never imports this (see `database.py`). A change here needs a migration in
`migrations/versions/`, a new `HEAD` in `migrate.py` and a new `migrations/head.sql`
(`python -m potluck.store.schema` prints it); tests compare all three. Money is in micro-USD, durations in
milliseconds, moments in seconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("wish", Text, nullable=False),  # the `model` the client asked for
    Column("target", Text, nullable=False),  # who answered; "" when nobody did
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),  # HTTP status given to the client
    Column("attempts", Text, nullable=False),  # JSON, see records.attempts_json
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("estimated", Integer, nullable=False),  # 1: no provider reported the tokens
    Column("cost", BigInteger, nullable=False),
    Column("ms_first", Double, nullable=False),  # to the first token; 0 = none came
    Column("ms", Double, nullable=False),
    Column("surface", Text, nullable=False),
    Column("prompt", Text),  # NULL unless prompts are recorded
    Column("answer", Text),
    # The one index: every report asks for a span of time, and each further one would cost every insert.
    Index("requests_at", "at"),
)

client_keys = Table(
    "client_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256 of the whole key, hex
    Column("prefix", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),  # NULL while the key works; rows are never deleted
    Column("limits", Text, nullable=False),  # JSON of keys.Limits
    # Grows with every change of any key, so that one MAX() tells a worker whether to load again. Unique,
    # so that two changes made at once cannot share a number and hide one another.
    Column("revision", BigInteger, nullable=False, unique=True),
)

counters = Table(
    "counters",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # JSON object, keys sorted
    Column("value", Double, nullable=False),
)

# Answers that a client may ask for again or continue (the Responses format).
responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("previous", Text, nullable=False),  # "" where it begins a conversation
    Column("items", Text, nullable=False),  # JSON list of its input
    Column("answer", Text, nullable=False),  # JSON response object
    Index("responses_at", "at"),
)

# What techniques spared, per day of UTC.
savings = Table(
    "savings",
    metadata,
    Column("day", Text, primary_key=True),  # 2026-11-24
    Column("technique", Text, primary_key=True),
    Column("target", Text, primary_key=True),  # who would have served it
    Column("times", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
)

# How often an answer that a technique gave was asked again the dearer way, and agreed.
checks = Table(
    "checks",
    metadata,
    Column("day", Text, primary_key=True),
    Column("technique", Text, primary_key=True),
    Column("asked", BigInteger, nullable=False),
    Column("agreed", BigInteger, nullable=False),
)

# What clients uploaded, and what batches made. The bytes are files of the data directory.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("expires", Double, nullable=False),  # 0 = never
    Index("files_tenant", "tenant", "at"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("input", Text, nullable=False),  # id of its file
    Column("completion_window", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON object, or null
    Column("model", Text, nullable=False),  # of the first line; "" until it was read
    Column("deadline", Double, nullable=False),
    Column("errors", Text, nullable=False),  # JSON, "" without
    Column("output", Text, nullable=False),  # ids of the files that were made, "" without
    Column("failures", Text, nullable=False),
    # When it came into each status; 0 = not yet.
    *(
        Column(name, Double, nullable=False)
        for name in ("started", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    ),
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("output_lasts", Double, nullable=False),  # seconds that its files are kept; 0 = as all
    Column("worker", Text, nullable=False),  # who reads its input or writes its files now,
    Column("until", Double, nullable=False),  # until when nobody else does
    Index("batches_status", "status"),
    Index("batches_tenant", "tenant", "at"),
)

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("line", BigInteger, primary_key=True),
    Column("custom_id", Text, nullable=False),
    Column("start", BigInteger, nullable=False),  # bytes into the input file
    Column("size", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("until", Double, nullable=False),  # end of the worker's lease
    Column("done", Integer, nullable=False),  # 0 open, 1 answered well, 2 failed
    Column("tries", Integer, nullable=False),  # failures that were not the line's own fault
    Index("batch_lines_open", "batch", "done", "until"),
    Index("batch_lines_ids", "batch", "custom_id", unique=True),
)

batch_answers = Table(
    "batch_answers",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("line", BigInteger, primary_key=True),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),  # HTTP; 0 = it was never asked
    Column("tokens_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)


def head_sql(version: str) -> str:
    """The statements that make an empty SQLite file what all migrations up to `version` would."""
    dialect = sqlite.dialect()
    statements = [
        "CREATE TABLE alembic_version "
        "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    ]
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)).strip() for index in indexes]
    statements.append(f"INSERT INTO alembic_version (version_num) VALUES ('{version}')")  # noqa: S608
    return ";\n\n".join("\n".join(line.rstrip() for line in one.splitlines()) for one in statements) + ";\n"


if __name__ == "__main__":
    from potluck.store.migrate import HEAD

    print(head_sql(HEAD), end="")
