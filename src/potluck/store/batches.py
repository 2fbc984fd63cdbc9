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

OPEN, GOOD, FAILED = 0, 1, 2  # `done`


class Line(msgspec.Struct, frozen=True):
    """One request of a batch: `size` bytes at `offset` of its input file. `number` counts from 1."""

    batch: str
    number: int
    custom_id: str
    offset: int
    size: int
    tries: int = 0


class Answered(msgspec.Struct, frozen=True):
    """What became of a line: HTTP status and JSON body, as an interactive client would have had them.

    `status` 0: it was never asked; then `body` is the error of the batch itself.
    """

    batch: str
    number: int
    request: str
    status: int
    body: str
    tokens_in: int = 0
    tokens_out: int = 0


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
            "INSERT INTO batch_lines (batch, line, custom_id, start, size, worker, until, done, tries) "
            "VALUES (?, ?, ?, ?, ?, '', 0, 0, 0) ON CONFLICT (batch, line) DO NOTHING",
            [(one.batch, one.number, one.custom_id, one.offset, one.size) for one in rows],
        )


def claim(
    connection: Connection, batch: str, worker: str, most: int, *, now: float, lease: float
) -> list[Line]:
    """Up to `most` unanswered lines that nobody holds, in order; they are `worker`'s for `lease` seconds."""
    with connection.transaction():
        rows = connection.query(
            "SELECT line, custom_id, start, size, tries FROM batch_lines "
            "WHERE batch = ? AND done = 0 AND until <= ? ORDER BY line LIMIT ?",
            batch, now, most,
        )  # fmt: skip
        connection.write(
            "UPDATE batch_lines SET worker = ?, until = ? WHERE batch = ? AND line = ?",
            [(worker, now + lease, batch, row[0]) for row in rows],
        )
    return [Line(batch, *row) for row in rows]


def renew(connection: Connection, lines: Iterable[Line], worker: str, until: float) -> None:
    """The worker lives and still works on these. A lease that ended and went to another stays the other's."""
    connection.write(
        "UPDATE batch_lines SET until = ? WHERE batch = ? AND line = ? AND worker = ? AND done = 0",
        [(until, line.batch, line.number, worker) for line in lines],
    )


def give_back(
    connection: Connection, line: Line, worker: str, *, after: float = 0.0, tried: bool = False
) -> None:
    """The line was not answered (no room for it, say): anybody may claim it, from `after` on."""
    connection.write(
        "UPDATE batch_lines SET worker = '', until = ?, tries = tries + ? "
        "WHERE batch = ? AND line = ? AND worker = ? AND done = 0",
        [(after, int(tried), line.batch, line.number, worker)],
    )


def let_go(connection: Connection, worker: str) -> None:
    """The worker ends: what it held and did not answer is anybody's."""
    connection.write(
        "UPDATE batch_lines SET worker = '', until = 0 WHERE worker = ? AND done = 0 AND batch IN "
        "(SELECT id FROM batches WHERE status IN ('in_progress', 'cancelling'))",
        [(worker,)],
    )


def drop(connection: Connection, batch: str) -> None:
    """No line of it is to be asked: its input was refused."""
    connection.write("DELETE FROM batch_lines WHERE batch = ?", [(batch,)])


def answer(connection: Connection, answered: Answered) -> bool:
    """Whether this is the line's answer; False when it had one already."""
    return answer_all(connection, [answered]) == 1


def answer_all(connection: Connection, answered: Iterable[Answered]) -> int:
    """How many of these are their lines' answers, in one transaction; lines that have one already keep it."""
    first = 0
    with connection.transaction():
        for one in answered:
            key = (one.batch, one.number)
            done = GOOD if 0 < one.status < 400 else FAILED
            if connection.write(
                "UPDATE batch_lines SET done = ? WHERE batch = ? AND line = ? AND done = 0", [(done, *key)]
            ):
                first += 1
                connection.write(
                    "INSERT INTO batch_answers (batch, line, request, status, tokens_in, tokens_out, body) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*key, one.request, one.status, one.tokens_in, one.tokens_out, one.body)],
                )
    return first


def give_up(connection: Connection, batch: str, body: str, most: int = MANY) -> int:
    """Answers up to `most` open lines with an error of the batch itself: how many there were."""
    rows = connection.query(
        "SELECT line FROM batch_lines WHERE batch = ? AND done = 0 ORDER BY line LIMIT ?", batch, most
    )
    return answer_all(connection, [Answered(batch, int(row[0]), "", 0, body) for row in rows])


def given_up(connection: Connection, batch: str) -> bool:
    """Whether any line has an error of the batch itself."""
    return bool(connection.query("SELECT 1 FROM batch_answers WHERE batch = ? AND status = 0 LIMIT 1", batch))


def held(connection: Connection, batch: str, now: float) -> int:
    """Lines that some worker is at."""
    return int(
        connection.query(
            "SELECT COUNT(*) FROM batch_lines WHERE batch = ? AND done = 0 AND until > ? AND worker <> ''",
            batch, now,
        )[0][0]
    )  # fmt: skip


def counts(connection: Connection, batch: str) -> Counts:
    """Read from an index alone: a client may poll it."""
    found: dict[int, int] = dict(
        connection.query("SELECT done, COUNT(*) FROM batch_lines WHERE batch = ? GROUP BY done", batch)
    )
    return Counts(sum(found.values()), found.get(GOOD, 0), found.get(FAILED, 0))


def usage(connection: Connection, batch: str) -> tuple[int, int]:
    """Tokens in and out of all answers."""
    rows = connection.query(
        "SELECT COALESCE(SUM(tokens_in), 0), COALESCE(SUM(tokens_out), 0) FROM batch_answers WHERE batch = ?",
        batch,
    )
    return int(rows[0][0]), int(rows[0][1])


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
