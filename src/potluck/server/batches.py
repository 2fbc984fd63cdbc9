"""`/v1/batches`: ask for one, list them, look how far one is, cancel it. What works them off is `app/batches.py`.

Rules: each client key sees its own batches and no others; a batch runs within the limits of the key that asked for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from potluck.errors import ClientLimited, Conflict, Invalid, NotFound
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.server.files import limit
from potluck.store import batch_list, batches, files
from potluck.store.aside import Aside
from potluck.store.batch_list import OPEN, Batch
from potluck.store.database import Connection
from potluck.surfaces import batches as shapes
from potluck.types import Clock

PAGE, LONGEST = 20, 100  # as OpenAI has it
AGAIN = 60.0  # seconds: when a batch ends, nobody knows


class Batches:
    """`most`: unfinished batches a client may have; `told` is called when there is something new to do."""

    def __init__(self, aside: Aside, clock: Clock, *, most: int, told: Callable[[], object]) -> None:
        self._aside, self._clock, self._most, self._told = aside, clock, most, told

    async def visit(self, visit: Visit) -> Answer:
        id, _, rest = visit.path.removeprefix("/v1/batches").removeprefix("/").partition("/")
        if not id:
            visit.needs("GET", "POST")
            if visit.method == "GET":
                return await self._aside.do(lambda one: self._list(one, visit))
            asked = shapes.parse(visit.body)
            made = await self._aside.do(lambda one: self._create(one, visit, asked))
            self._told()
            return made
        if rest not in ("", "cancel"):
            raise NotFound(f"There is nothing at {visit.path[:100]!r}.")
        visit.needs("POST" if rest else "GET")
        if rest:
            cancelled = await self._aside.do(lambda one: self._cancel(one, visit, id))
            self._told()
            return cancelled
        return await self._aside.do(lambda one: _answer(one, _find(one, visit, id)))

    def _create(self, connection: Connection, visit: Visit, asked: shapes.Create) -> Answer:
        now, tenant = self._clock.now(), visit.key.id
        file = files.find(connection, asked.input_file_id, tenant, now)
        if file is None:
            raise Invalid(
                f"There is no file {asked.input_file_id[:80]!r} here, or it belongs to another key. Upload it with "
                "POST /v1/files first.",
                param="input_file_id",
            )
        if file.purpose != "batch":
            raise Invalid(
                f"The file {file.id} was uploaded for {file.purpose!r}. Upload it with purpose 'batch'.",
                param="input_file_id",
            )
        open_ones = [one for one in batch_list.unfinished(connection) if one.tenant == tenant]
        if len(open_ones) >= self._most:
            raise ClientLimited(
                f"This key has {self._most} unfinished batches, the most it may have (max_unfinished in [batches]). "
                "Wait for one to end, or cancel one.",
                retry_after=AGAIN,
            )
        lasts = asked.output_expires_after
        made = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            tenant=tenant,
            at=now,
            endpoint=asked.endpoint,
            input=file.id,
            completion_window=asked.completion_window,
            metadata=msgspec.json.encode(asked.metadata).decode(),
            deadline=now + asked.window,
            output_lasts=float(lasts.seconds) if lasts else 0.0,
        )
        batch_list.add(connection, made)
        return _answer(connection, made)

    def _list(self, connection: Connection, visit: Visit) -> Answer:
        query = parse_qs(visit.query.decode("latin-1"))
        most = limit(query, PAGE, LONGEST)
        after = _find(connection, visit, query["after"][0]) if "after" in query else None
        found = batch_list.page(connection, visit.key.id, after, most + 1)
        return Answer(shapes.page([_plain(connection, one) for one in found[:most]], len(found) > most))

    def _cancel(self, connection: Connection, visit: Visit, id: str) -> Answer:
        found = _find(connection, visit, id)
        if found.status != "cancelling" and not batch_list.cancel(connection, id, self._clock.now()):
            now = _find(connection, visit, id).status
            raise Conflict(
                f"The batch is {now} already: only one that is validating or in progress can be cancelled."
            )
        return _answer(connection, _find(connection, visit, id))


def _find(connection: Connection, visit: Visit, id: str) -> Batch:
    found = batch_list.find(connection, id, visit.key.id)
    if found is None:
        raise NotFound(f"There is no batch {id[:80]!r} here, or it belongs to another key.", param="batch_id")
    return found


def _answer(connection: Connection, batch: Batch) -> Answer:
    return Answer(msgspec.json.encode(_plain(connection, batch)))


def _plain(connection: Connection, batch: Batch) -> dict[str, Any]:
    """OpenAI's batch object."""
    at = shapes.moment
    counts = batches.counts(connection, batch.id)
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": msgspec.Raw(batch.errors.encode()) if batch.errors else None,
        "input_file_id": batch.input,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output or None,
        "error_file_id": batch.failures or None,
        "created_at": at(batch.at),
        "in_progress_at": at(batch.started),
        "expires_at": at(batch.deadline),
        "finalizing_at": at(batch.finalizing),
        "completed_at": at(batch.completed),
        "failed_at": at(batch.failed),
        "expired_at": at(batch.expired),
        "cancelling_at": at(batch.cancelling),
        "cancelled_at": at(batch.cancelled),
        "request_counts": msgspec.structs.asdict(counts),
        "usage": None if batch.status in OPEN or batch.failed else _usage(batch),
        "metadata": msgspec.Raw(batch.metadata.encode()),
    }


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.tokens_in,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": batch.tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.tokens_in + batch.tokens_out,
    }
