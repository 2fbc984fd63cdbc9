"""Stored answers between the event loop and the store: continue one, keep one, show or delete one.

Rules: an answer is in the store before its last byte is sent, so that whatever the client asks next, and whichever
worker it asks, finds it. One thread writes; those that wait while it does share the next transaction. A store that
takes nothing costs the memory of an answer, never the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from potluck.errors import Invalid, NotFound, StoreAway
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.store import responses as store
from potluck.store.database import Connection, Database
from potluck.surfaces.responses import continued, items_of
from potluck.surfaces.surface import About
from potluck.types import Request

T = TypeVar("T")
PAGE = 20  # items a page, as the format has it

_log = logging.getLogger(__name__)


class Memory:
    """One worker's. `path` is where the desk below stands."""

    def __init__(self, database: Database, path: str = "/v1/responses/") -> None:
        self._database, self._path = database, path
        self._thread = ThreadPoolExecutor(1, "potluck-responses")
        self._connection: Connection | None = None
        self._waiting: deque[store.Stored] = deque()

    async def recalled(self, request: Request) -> Request:
        """The request with the conversation that it continues. Raises Invalid when that is not there."""
        kept = request.kept
        assert kept is not None
        turns = await self._wanted(lambda one: store.chain(one, kept.previous, request.tenant))
        if not turns or turns[0].previous:
            error = Invalid(
                f"The response {(turns[0].previous if turns else kept.previous)[:80]!r} is not stored here: it was "
                "not stored, was deleted, is too old, or belongs to another key. Send the conversation in 'input'.",
                param="previous_response_id",
            )
            error.code = "previous_response_not_found"
            raise error
        return continued(request, [(turn.items, turn.answer) for turn in turns])

    async def keep(self, about: About) -> None:
        """Stores a whole answer, if its client did not forbid it."""
        request = about.request
        kept = request.kept
        if kept is None or not kept.store or not kept.answer:
            return
        items = items_of(kept.asked, about.id)
        self._waiting.append(
            store.Stored(f"resp_{about.id}", request.tenant, about.at, kept.previous, items, kept.answer)
        )
        try:
            await self._do(self._drain)
        except (self._database.dbapi.Error, UnicodeError) as error:
            _log.warning("an answer could not be stored for later: %s", error)

    async def visit(self, visit: Visit) -> Answer:
        """`GET` and `DELETE` of one, its `input_items`, and `cancel`."""
        id, _, rest = visit.path.removeprefix(self._path).partition("/")
        tenant = visit.key.id
        if rest not in ("", "input_items", "cancel"):
            raise NotFound(f"There is nothing at {visit.path[:100]!r}.")
        visit.needs(*{"": ("GET", "DELETE"), "input_items": ("GET",), "cancel": ("POST",)}[rest])
        if visit.method == "DELETE":
            if not await self._wanted(lambda one: store.remove(one, id, tenant)):
                raise _missing(id)
            return _json({"id": id, "object": "response.deleted", "deleted": True})
        found = await self._wanted(lambda one: store.find(one, id, tenant))
        if found is None:
            raise _missing(id)
        if rest == "cancel":
            raise Invalid("Only a response with 'background' can be cancelled, and this one is complete.")
        if rest:
            return _json(_page(msgspec.json.decode(found.items), parse_qs(visit.query.decode("latin-1"))))
        return Answer(found.answer)

    def close(self) -> None:
        self._thread.submit(self._disconnect)
        self._thread.shutdown()

    async def _wanted(self, what: Callable[[Connection], T]) -> T:
        """What a client waits for. Raises StoreAway."""
        try:
            return await self._do(what)
        except self._database.dbapi.Error as error:
            _log.warning("a stored answer could not be reached: %s", error)
            raise StoreAway(
                "Stored answers cannot be reached this moment: Potluck's own store is locked or gone. Ask again in a "
                "second; if it lasts, `potluck doctor` says what is wrong."
            ) from error

    async def _do(self, what: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, what)

    def _run(self, what: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._database.connect()
        try:
            return what(self._connection)
        except self._database.dbapi.OperationalError:
            self._disconnect()  # it may be the connection that broke; the next one is new
            raise

    def _drain(self, connection: Connection) -> None:
        rows = []
        while self._waiting:
            rows.append(self._waiting.popleft())
        if rows:
            store.add(connection, rows)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _missing(id: str) -> NotFound:
    return NotFound(
        f"There is no response {id[:80]!r} here, or it belongs to another key.", param="response_id"
    )


def _page(items: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    """The newest first unless asked otherwise. Raises Invalid."""
    limit, order = query.get("limit", [str(PAGE)])[0], query.get("order", ["desc"])[0]
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= 100):
        raise Invalid("'limit' is a number from 1 to 100.", param="limit")
    if order not in ("asc", "desc"):
        raise Invalid("'order' is asc or desc.", param="order")
    listed = items if order == "asc" else items[::-1]
    ids = [item["id"] for item in listed]
    if "after" in query:
        after = query["after"][0]
        if after not in ids:
            raise Invalid(f"There is no item {after[:80]!r}.", param="after")
        listed = listed[ids.index(after) + 1 :]
    page = listed[: int(limit)]
    ends = (
        {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
        if page
        else {"first_id": None, "last_id": None}
    )
    return {"object": "list", "data": page, "has_more": len(page) < len(listed), **ends}


def _json(value: Any) -> Answer:
    return Answer(msgspec.json.encode(value))
