"""The ASGI application: routes, authentication, JSON and SSE out. It gets a Handler and cannot name a stage.

Rules: everything a client may do wrong ends in a 4xx in OpenAI's shape; only this module turns errors into
HTTP. The order is: who may speak at all (Host, Origin), who speaks (key), what they may (limits), what they
want (parse); each step is cheaper than the next. No framework: routing is one dictionary look-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from potluck import errors
from potluck.server.answer import Answer, respond
from potluck.server.chat import Chat, ClientLeft, read_body
from potluck.server.desk import Desk, Desks, MethodNotAllowed, Visit
from potluck.server.gate import Gate
from potluck.store.keyring import Keyring
from potluck.store.keys import ClientKey
from potluck.surfaces import anthropic, openai
from potluck.surfaces.routes import CHAT, family, surface_of
from potluck.surfaces.surface import Surface

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
View = Callable[[], Any]

_log = logging.getLogger(__name__)


class Web:
    """One worker's application. `views` are admin pages by path: what they return is sent as JSON.

    `ready` says why the gateway is not ready yet, or "".
    """

    def __init__(
        self,
        chat: Chat,
        gate: Gate,
        keyring: Keyring,
        *,
        models: Callable[[], list[str]],
        metrics: Callable[[], bytes],
        views: Mapping[str, View],
        ready: Callable[[], str],
        openapi: bytes,
        started: int,
        desks: Mapping[str, Desk] | None = None,
    ) -> None:
        self._chat, self._gate, self._keyring = chat, gate, keyring
        self._models, self._metrics, self._views, self._ready = models, metrics, views, ready
        self._openapi, self._started, self._desks = openapi, started, Desks(desks or {})
        self._gets: dict[str, Callable[[ClientKey], Answer]] = {
            "/v1/models": lambda key: Answer(openai.render_models(self._allowed(key), self._started)),
            "/metrics": self._scrape,
            **{path: self._view(view) for path, view in views.items()},
        }
        self._open: dict[str, Callable[[], Answer]] = {
            "/health": lambda: Answer(b'{"status":"ok"}'),
            "/ready": self._readiness,
            "/openapi.json": lambda: Answer(self._openapi),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        extra: tuple[tuple[bytes, bytes], ...] = ()
        try:
            headers = scope["headers"]
            extra = self._gate.check(headers, scope["method"])
            await self._route(scope, headers, receive, send, extra)
        except errors.PotluckError as error:
            await respond(send, refusal(error, extra, family(scope["path"])))
        except asyncio.CancelledError:
            # The protocol cancels us when the client has left; a shutdown cancels us too, and that one counts.
            if not scope.get("potluck.gone"):
                raise
        except Exception:
            _log.exception("a request failed in a way it must not")
            await respond(send, refusal(errors.PotluckError(_OURS), extra, family(scope["path"])))

    async def _route(
        self, scope: Scope, headers: Any, receive: Receive, send: Send, extra: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        path, method = scope["path"], scope["method"]
        surface = surface_of(path, scope["query_string"])
        if surface is not None and method == "POST":
            sent = dict(headers)
            await self._chat.serve(surface, scope, self._who(sent, scope), receive, send, extra, sent)
            return
        if method == "OPTIONS":
            await respond(send, Answer(b"", status=204, headers=extra))
            return
        if path.startswith("/v1/models") and _of_gemini(headers):  # another format at the same address
            path = "/v1beta" + path.removeprefix("/v1")
        desk = self._desks.find(path)
        if desk is None:
            answer = self._get(path, method, headers, scope)
        else:
            sent = dict(headers)
            key = self._who(sent, scope)
            try:
                body = await read_body(receive)
            except ClientLeft:
                return
            answer = await desk(Visit(key, method, path, scope["query_string"], sent, body))
        await respond(send, answer.plus(extra))

    def _get(self, path: str, method: str, headers: Any, scope: Scope) -> Answer:
        posts = surface_of(path) is not None
        if not (posts or path in self._gets or path in self._open or path.startswith("/v1/models/")):
            raise errors.NotFound(
                f"There is nothing at {path[:100]!r}. Clients speak to /v1/chat/completions, /v1/embeddings and "
                "/v1/models; set your client's base URL to this address with /v1 at its end."
            )
        if method not in ("GET", "HEAD") or posts:
            wanted = "POST" if posts else "GET"
            raise MethodNotAllowed(f"{path} takes {wanted}, not {method}.")
        if path in self._open:
            return self._open[path]()
        sent = dict(headers)
        key = self._who(sent, scope)
        if b"anthropic-version" in sent and path.startswith("/v1/models"):
            return self._anthropic_models(path, key)
        if path in self._gets:
            return self._gets[path](key)
        return self._one_model(path.removeprefix("/v1/models/"), key)

    def _who(self, sent: Mapping[bytes, bytes], scope: Scope) -> ClientKey:
        given = sent.get(b"authorization") or sent.get(b"x-api-key") or sent.get(b"x-goog-api-key")
        if not given and b"key=" in scope["query_string"]:  # clients of some formats send it in the address
            query = parse_qsl(scope["query_string"].decode("latin-1"))
            given = next((value for name, value in query if name == "key"), "").encode()
        return self._keyring.authenticate(given or b"")

    def _allowed(self, key: ClientKey) -> list[str]:
        return [name for name in self._models() if key.limits.allows(name)]

    def _anthropic_models(self, path: str, key: ClientKey) -> Answer:
        """The listing, or one of it, for clients that read another format at the same address."""
        if path == "/v1/models":
            return Answer(anthropic.render_models(self._allowed(key), self._started))
        name = path.removeprefix("/v1/models/")
        self._known(name, key)
        return Answer(msgspec.json.encode(anthropic.model(name, self._started)))

    def _one_model(self, name: str, key: ClientKey) -> Answer:
        self._known(name, key)
        model = {"id": name, "object": "model", "created": self._started, "owned_by": "potluck"}
        return Answer(msgspec.json.encode(model))

    def _known(self, name: str, key: ClientKey) -> None:
        if name not in self._allowed(key):
            raise errors.UnknownModel(
                f"There is no model {name[:100]!r} here. GET /v1/models lists them.", param="model"
            )

    def _view(self, view: View) -> Callable[[ClientKey], Answer]:
        def show(key: ClientKey) -> Answer:
            _admin(key)
            return Answer(msgspec.json.encode(view()))

        return show

    def _scrape(self, key: ClientKey) -> Answer:
        _admin(key)
        return Answer(self._metrics(), type=b"text/plain; version=1.0.0; charset=utf-8")

    def _readiness(self) -> Answer:
        why = self._ready()
        if why:
            return Answer(msgspec.json.encode({"status": "starting", "why": why}), status=503)
        return Answer(b'{"status":"ready"}')


_OURS = "Potluck failed on this request; the fault is ours. The gateway's log has the details; please report them."


def refusal(
    error: errors.PotluckError, extra: tuple[tuple[bytes, bytes], ...] = (), surface: Surface = CHAT
) -> Answer:
    """An error as HTTP: status, the body its client understands, and a true Retry-After where there is one."""
    headers = list(extra)
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after // 1))))
    return Answer(surface.error(error), status=error.status, headers=tuple(headers))


def _of_gemini(headers: Any) -> bool:
    """Whether a client speaks Gemini's format: it has a key header of its own."""
    return any(name in (b"x-goog-api-key", b"x-goog-api-client") for name, _ in headers)


def _admin(key: ClientKey) -> None:
    if not key.limits.admin:
        raise errors.Forbidden(
            "This client key may not look at the gateway itself. Use one made with `potluck keys create --admin`."
        )
