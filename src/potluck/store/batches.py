"""The lines of batches: each claimed by one worker at a time, each answered exactly once.

Rules: a claim is a lease, so that a line whose worker was killed is tried again once it ended. The first answer
to a line stands; a second one, of a worker that was slower than its lease, is dropped. An answer and the state
of its line change in one transaction. What a line asks stays in the input file, at `offset`; moments are epoch
seconds. Every function takes the connection it works on; none runs on an event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from potluck.store.database import Connection

MANY = 1_000  # rows in one transaction, or read at once: bounds memory and how long others wait for the lock

# Not yet in `schema.py`: nothing but the tests makes these tables until a migration does.
TABLES = (
    "CREATE TABLE batch_lines (batch TEXT NOT NULL, line BIGINT NOT NULL, custom_id TEXT NOT NULL, "
    "start BIGINT NOT NULL, size BIGINT NOT NULL, worker TEXT NOT NULL, until DOUBLE NOT NULL, "
    "done INTEGER NOT NULL, PRIMARY KEY (batch, line), UNIQUE (batch, custom_id))",
    "CREATE TABLE batch_answers (batch TEXT NOT NULL, line BIGINT NOT NULL, request TEXT NOT NULL, "
    "status INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (batch, line))",
    "CREATE INDEX batch_lines_open ON batch_lines (batch, done, until)",
)


class Line(msgspec.Struct, frozen=True):
    """One request of a batch: `size` bytes at `offset` of its input file. `number` counts from 1."""

    batch: str
    number: int
    custom_id: str
    offset: int
    size: int


class Answered(msgspec.Struct, frozen=True):
    """What became of a line: HTTP status and JSON body, as an interactive client would have had them."""

    batch: str
    number: int
    request: str
    status: int
    body: str


class Counts(msgspec.Struct, frozen=True):
    """OpenAI's `request_counts`."""

    total: int
    completed: int
    failed: int


def add(connection: Connection, lines: Iterable[Line]) -> None:
    """Adds lines; those that are there already, from before a restart, are left as they are.

    Raises the database's IntegrityError where a batch has a custom_id twice.
    """
    rest = iter(lines)
    while rows := list(islice(rest, MANY)):
        connection.write(
            "INSERT INTO batch_lines (batch, line, custom_id, start, size, worker, until, done) "
            "VALUES (?, ?, ?, ?, ?, '', 0, 0) ON CONFLICT (batch, line) DO NOTHING",
            [(one.batch, one.number, one.custom_id, one.offset, one.size) for one in rows],
        )


def claim(
    connection: Connection, batch: str, worker: str, most: int, *, now: float, lease: float
) -> list[Line]:
    """Up to `most` unanswered lines that nobody holds, in order; they are `worker`'s for `lease` seconds."""
    with connection.transaction():
        rows = connection.query(
            "SELECT line, custom_id, start, size FROM batch_lines "
            "WHERE batch = ? AND done = 0 AND until <= ? ORDER BY line LIMIT ?",
            batch, now, most,
        )  # fmt: skip
        connection.write(
            "UPDATE batch_lines SET worker = ?, until = ? WHERE batch = ? AND line = ?",
            [(worker, now + lease, batch, row[0]) for row in rows],
        )
    return [Line(batch, *row) for row in rows]


def give_back(connection: Connection, line: Line, worker: str) -> None:
    """The line was not answered (no room for it, say): anybody may claim it now."""
    connection.write(
        "UPDATE batch_lines SET until = 0 WHERE batch = ? AND line = ? AND worker = ? AND done = 0",
        [(line.batch, line.number, worker)],
    )


def answer(connection: Connection, answered: Answered) -> bool:
    """Whether this is the line's answer; False when it had one already."""
    with connection.transaction():
        key = (answered.batch, answered.number)
        first = connection.write(
            "UPDATE batch_lines SET done = 1 WHERE batch = ? AND line = ? AND done = 0", [key]
        )
        if first:
            connection.write(
                "INSERT INTO batch_answers (batch, line, request, status, body) VALUES (?, ?, ?, ?, ?)",
                [(*key, answered.request, answered.status, answered.body)],
            )
    return first > 0


def counts(connection: Connection, batch: str) -> Counts:
    total = connection.query("SELECT COUNT(*) FROM batch_lines WHERE batch = ?", batch)[0][0]
    answered, good = connection.query(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status < 400 THEN 1 ELSE 0 END), 0) "
        "FROM batch_answers WHERE batch = ?",
        batch,
    )[0]
    return Counts(int(total), int(good), int(answered - good))


def answers(connection: Connection, batch: str) -> Iterator[tuple[str, Answered]]:
    """(custom_id, answer) in the order of the lines; MANY of them are in memory at once."""
    last = 0
    while rows := connection.query(
        "SELECT l.custom_id, a.line, a.request, a.status, a.body FROM batch_answers a "
        "JOIN batch_lines l ON l.batch = a.batch AND l.line = a.line "
        "WHERE a.batch = ? AND a.line > ? ORDER BY a.line LIMIT ?",
        batch, last, MANY,
    ):  # fmt: skip
        yield from ((str(row[0]), Answered(batch, *row[1:])) for row in rows)
        last = int(rows[-1][1])
