"""What takes long about a batch as a whole: read its input into lines, write its output and error files.

Rules: everything here may be done again after a crash at any point, by any worker, with the same result: lines that
are there stay as they are, and the names of the files follow from the batch. The disk is touched in a thread, a piece
at a time, and gives way to the event loop after every few lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from potluck.store import batch_list, batches, files
from potluck.store.aside import Aside
from potluck.store.batch_list import Batch
from potluck.store.database import Connection
from potluck.store.files import File, Shelf
from potluck.surfaces import batch_lines
from potluck.surfaces.batches import CANCELLED, EXPIRED
from potluck.types import Clock

PIECE = 500  # lines read in one piece of work
POLITE = 25  # lines after which the interpreter is handed to whoever waits for it


class Work:
    """`most` lines a batch; `days` that files are kept, 0 = for ever."""

    def __init__(self, aside: Aside, shelf: Shelf, clock: Clock, *, most: int, days: int) -> None:
        self._aside, self._shelf, self._clock = aside, shelf, clock
        self._most, self._days = most, days

    async def read(self, batch: Batch) -> None:
        """From validating to in progress, or to failed with every mistake and its line."""
        mistakes: list[batch_lines.Mistake] = []
        model = ""
        try:
            input = await self._aside.do(lambda _: self._shelf.path(batch.input).open("rb"))
        except FileNotFoundError:
            mistakes.append(batch_lines.Mistake("file_not_found", "The input file is not there any more."))
        else:
            with closing(input):
                found = batch_lines.read(_politely(input), batch.endpoint, self._most)
                while piece := await self._aside.do(lambda _: list(islice(found, PIECE))):
                    mistakes += [one for one in piece if isinstance(one, batch_lines.Mistake)]
                    del mistakes[batch_lines.SHOWN :]
                    good = [one for one in piece if isinstance(one, batch_lines.Asked)]
                    if good and not mistakes:
                        model = model or await self._model(batch, good[0])
                        await self._aside.do(partial(batches.add, lines=_lines(batch, good)))
        await self._aside.do(lambda one: self._begin(one, batch, mistakes, model))

    async def _model(self, batch: Batch, first: batch_lines.Asked) -> str:
        line = batches.Line(batch.id, first.number, first.custom_id, first.offset, first.size)
        [(_, raw)] = await self._aside.do(lambda _: self.asked(batch, [line]))
        return batch_lines.body_of(raw)[1] or "auto"

    def _begin(
        self, connection: Connection, batch: Batch, mistakes: list[batch_lines.Mistake], model: str
    ) -> None:
        now = self._clock.now()
        if mistakes:
            said = msgspec.json.encode(batch_lines.errors(mistakes)).decode()
            batches.drop(connection, batch.id)
            batch_list.move(connection, batch, "failed", failed=now, errors=said)
        else:
            batch_list.move(connection, batch, "in_progress", started=now, model=model)

    def asked(self, batch: Batch, lines: list[batches.Line]) -> list[tuple[batches.Line, bytes]]:
        """The bytes of some lines. Raises OSError."""
        if not lines:
            return []
        with self._shelf.path(batch.input).open("rb") as input:
            found = []
            for line in lines:
                input.seek(line.offset)
                found.append((line, input.read(line.size)))
            return found

    async def write(self, batch: Batch) -> None:
        """From finalizing or cancelling to the end: lines that were never asked say why, then both files."""
        why = CANCELLED if batch.cancelling else EXPIRED
        while await self._aside.do(lambda one: batches.give_up(one, batch.id, why)):
            pass
        counts = await self._aside.do(lambda one: batches.counts(one, batch.id))
        made: dict[str, str] = {}
        for field, suffix, wanted in (
            ("output", "out", counts.completed),
            ("failures", "err", counts.failed),
        ):
            if wanted:
                made[field] = await self._aside.do(partial(self._file, batch=batch, suffix=suffix))
        await self._aside.do(lambda one: self._end(one, batch, made))

    def _file(self, connection: Connection, batch: Batch, suffix: str) -> str:
        id = f"file-{batch.id.removeprefix('batch_')}-{suffix}"
        size = self._shelf.write(id, _politely(_rendered(connection, batch.id, good=suffix == "out")))
        now = self._clock.now()
        lasts = batch.output_lasts or self._days * files.DAY
        name = f"{batch.id}_{'output' if suffix == 'out' else 'error'}.jsonl"
        files.add(
            connection,
            File(id, batch.tenant, now, name, "batch_output", size, now + lasts if lasts else 0.0),
        )
        return id

    def _end(self, connection: Connection, batch: Batch, made: dict[str, str]) -> None:
        tokens_in, tokens_out = batches.usage(connection, batch.id)
        end = "cancelled" if batch.cancelling else "completed"
        if not batch.cancelling and batches.given_up(connection, batch.id):
            end = "expired"
        changes: dict[str, Any] = {**made, end: self._clock.now()}
        batch_list.move(connection, batch, end, tokens_in=tokens_in, tokens_out=tokens_out, **changes)


def _lines(batch: Batch, asked: list[batch_lines.Asked]) -> Iterator[batches.Line]:
    for one in asked:
        yield batches.Line(batch.id, one.number, one.custom_id, one.offset, one.size)


def _rendered(connection: Connection, batch: str, *, good: bool) -> Iterator[bytes]:
    for custom_id, one in batches.answers(connection, batch):
        if (0 < one.status < 400) == good:
            id = f"batch_req_{batch.removeprefix('batch_')}_{one.number}"
            yield batch_lines.render(id, custom_id, one.status, one.request, one.body.encode())


def _politely(lines: Any) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % POLITE == 0:
            time.sleep(0)  # in a thread: lets the event loop have the interpreter
        yield line
