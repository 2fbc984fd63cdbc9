"""`/v1/files`: upload, list, look, download, delete. Each client key sees its own files and no others.

Rules: what is on disk is bounded per client. A file that a batch still reads is not deleted, and the error says which
batch. Everything that touches the disk is done beside the event loop.
"""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

import msgspec

from potluck.errors import Conflict, Invalid, NotFound, TooLarge
from potluck.server import upload
from potluck.server.answer import Answer
from potluck.server.desk import Visit
from potluck.store import batch_list, files
from potluck.store.aside import Aside
from potluck.store.database import Connection
from potluck.store.files import File, Shelf
from potluck.surfaces import batches as shapes
from potluck.types import Clock

PAGE = 10_000  # files listed at most, as OpenAI has it
DAY = 86_400.0


class Files:
    """`most`: bytes a client may have here; `days`: how long they are kept, 0 = for ever."""

    def __init__(self, aside: Aside, shelf: Shelf, clock: Clock, *, most: int, days: int) -> None:
        self._aside, self._shelf, self._clock = aside, shelf, clock
        self._most, self._days = most, days

    async def visit(self, visit: Visit) -> Answer:
        id, _, rest = visit.path.removeprefix("/v1/files").removeprefix("/").partition("/")
        if not id:
            visit.needs("GET", "POST")
            if visit.method == "POST":
                return await self._aside.do(lambda one: self._upload(one, visit))
            return await self._aside.do(lambda one: self._list(one, visit))
        if rest not in ("", "content"):
            raise NotFound(f"There is nothing at {visit.path[:100]!r}.")
        visit.needs(*(("GET",) if rest else ("GET", "DELETE")))
        if rest:
            return await self._aside.do(lambda one: self._content(one, visit, id))
        if visit.method == "DELETE":
            return await self._aside.do(lambda one: self._delete(one, visit, id))
        return await self._aside.do(lambda one: _answer(self._find(one, visit, id)))

    def _upload(self, connection: Connection, visit: Visit) -> Answer:
        form = upload.read(visit.headers.get(b"content-type", b""), visit.body)
        purpose, content = form.fields.get("purpose", ""), form.content
        if purpose not in shapes.PURPOSES:
            raise Invalid(f"'purpose' is one of {', '.join(shapes.PURPOSES)}.", param="purpose")
        if content is None:
            raise Invalid("The form has no 'file'.", param="file")
        said = [form.fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds")]
        lasts = shapes.expiry(*said)
        if files.held(connection, visit.key.id) + len(content) > self._most:
            raise TooLarge(
                f"With this file, the files of this key would hold more than {self._most:,} bytes "
                "(max_bytes_per_client in [batches]). Delete some, or shorten this one."
            )
        now = self._clock.now()
        id = f"file-{secrets.token_hex(12)}"
        self._shelf.write(id, [content])
        expires = now + (lasts or self._days * DAY) if lasts or self._days else 0.0
        name = form.filename or "upload"
        made = File(id, visit.key.id, now, name, purpose, len(content), expires)
        files.add(connection, made)
        return _answer(made)

    def _list(self, connection: Connection, visit: Visit) -> Answer:
        query = parse_qs(visit.query.decode("latin-1"))
        most = limit(query, PAGE, PAGE)
        order, purpose = query.get("order", ["desc"])[0], query.get("purpose", [""])[0]
        if order not in ("asc", "desc"):
            raise Invalid("'order' is asc or desc.", param="order")
        after = self._find(connection, visit, query["after"][0]) if "after" in query else None
        found = files.page(
            connection, visit.key.id, purpose, after, most + 1, now=self._clock.now(), newest=order == "desc"
        )
        return Answer(shapes.page([_plain(one) for one in found[:most]], len(found) > most))

    def _content(self, connection: Connection, visit: Visit, id: str) -> Answer:
        self._find(connection, visit, id)
        try:
            return Answer(self._shelf.path(id).read_bytes(), type=b"application/octet-stream")
        except FileNotFoundError:
            raise _missing(id) from None

    def _delete(self, connection: Connection, visit: Visit, id: str) -> Answer:
        self._find(connection, visit, id)
        user = batch_list.uses(connection, id)
        if user:
            raise Conflict(f"The batch {user} still reads this file. Wait for it, or cancel it first.")
        files.remove(connection, id, visit.key.id)
        self._shelf.drop(id)
        return Answer(msgspec.json.encode({"id": id, "object": "file", "deleted": True}))

    def _find(self, connection: Connection, visit: Visit, id: str) -> File:
        found = files.find(connection, id, visit.key.id, self._clock.now())
        if found is None:
            raise _missing(id)
        return found


def limit(query: dict[str, list[str]], default: int, most: int) -> int:
    """How many a page may have. Raises Invalid."""
    said = query.get("limit", [str(default)])[0]
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:9]) <= most):
        raise Invalid(f"'limit' is a number from 1 to {most}.", param="limit")
    return int(said)


def _plain(file: File) -> dict[str, object]:
    return shapes.file_object(file.id, file.at, file.name, file.purpose, file.size, file.expires)


def _answer(file: File) -> Answer:
    return Answer(msgspec.json.encode(_plain(file)))


def _missing(id: str) -> NotFound:
    return NotFound(f"There is no file {id[:80]!r} here, or it belongs to another key.", param="file_id")
