"""Speaks to a gateway that runs: what `ask`, `chat` and `quota` know of it comes over HTTP like any client's.

Rules: synchronous on purpose, as a command waits for one thing at a time. No proxy is used: the address is the
user's own. An answer that ends without its terminator was cut, and is never passed off as whole.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from potluck.errors import ConfigError, Interrupted, PotluckError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0  # a slow local model may think long; Ctrl-C is always there
LOOK_SECONDS = 3.0  # for pages that cost nothing


class NotRunning(PotluckError):
    """No gateway answers at the address."""

    status, code = 503, "not_running"


class Stranger(NotRunning):
    """Something answers at the address, and it does not speak HTTP."""

    code = "not_a_gateway"


class Refused(PotluckError):
    """The gateway answered with an error; `status`, `code` and the sentence are its own."""

    def __init__(self, message: str, *, status: int, code: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


class Answer(msgspec.Struct):
    """One streamed answer. `told` is what its headers said (`x-potluck-…`, without the prefix)."""

    told: dict[str, str]
    usage: dict[str, Any] = {}
    finish: str = ""
    parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Running:
    """A gateway's address and the key for it. `key` is sent as it is, and shown nowhere."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a gateway. Write http://127.0.0.1:4711.")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port, self._tls = parts.hostname, parts.port, parts.scheme == "https"
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str, *, seconds: float = LOOK_SECONDS) -> Any:
        """One page of the gateway as values. Raises NotRunning, Refused."""
        with self._call("GET", path, None, seconds) as response:
            return _json(response.read())

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises NotRunning, Refused."""
        with self._call("GET", path, None, ANSWER_SECONDS) as response:
            return response.read()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a page answers to this. Raises NotRunning, Refused."""
        with self._call("POST", path, msgspec.json.encode(body), LOOK_SECONDS) as response:
            return _json(response.read())

    def upload(self, name: str, content: bytes, purpose: str) -> Any:
        """The file object of an upload (multipart/form-data, RFC 7578). Raises NotRunning, Refused."""
        mark = secrets.token_hex(16)
        safe = name.translate({ord(c): "_" for c in '"\r\n\\'})
        parts = (
            f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{safe}"\r\n\r\n'
        )
        body = parts.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        with self._call("POST", "/v1/files", body, ANSWER_SECONDS, kind) as response:
            return _json(response.read())

    def stream(self, body: Mapping[str, Any]) -> tuple[Answer, Iterator[str]]:
        """Ask for a chat completion: its headers at once, its text as it arrives, its usage in the end.

        Raises NotRunning, Refused; while iterating, Interrupted.
        """
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        stack = contextlib.ExitStack()
        response = stack.enter_context(
            self._call("POST", "/v1/chat/completions", msgspec.json.encode(asked), ANSWER_SECONDS)
        )
        told = {
            name.lower().removeprefix("x-potluck-"): value
            for name, value in response.getheaders()
            if name.lower().startswith("x-potluck-")
        }
        answer = Answer(told)
        return answer, _texts(answer, response, stack)

    @contextlib.contextmanager
    def _call(
        self, method: str, path: str, body: bytes | None, seconds: float, kind: str = "application/json"
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        headers = {**self._headers, **({"content-type": kind} if body is not None else {})}
        try:
            try:
                connection.connect()
                connection.sock.settimeout(seconds)
                connection.request(method, path, body, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._not_running(error) from error
            with response:
                if response.status >= 400:
                    raise _refused(response)
                yield response
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_SECONDS, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)

    def _not_running(self, error: Exception) -> NotRunning:
        todo = "Start one with `potluck serve`, or point POTLUCK_URL at one that runs."
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return Stranger(f"What listens at {self.url} is not a gateway. {todo}")
        if isinstance(error, TimeoutError):
            return NotRunning(f"Nothing was heard from the gateway at {self.url} in time. {todo}")
        why = getattr(error, "strerror", None) or error
        return NotRunning(f"No gateway answers at {self.url} ({why}). {todo}")


def _texts(answer: Answer, response: http.client.HTTPResponse, stack: contextlib.ExitStack) -> Iterator[str]:
    with stack:
        for data in _events(response):
            if data == b"[DONE]":
                return
            event = _json(data)
            if not isinstance(event, dict):
                raise Interrupted("The gateway sent an event that is not an object. Look at its log.")
            if isinstance(event.get("error"), dict):
                raise Interrupted(f"The answer broke off: {event['error'].get('message', 'no reason given')}")
            answer.usage = event.get("usage") or answer.usage
            for choice in event.get("choices") or ():
                answer.finish = choice.get("finish_reason") or answer.finish
                text = (choice.get("delta") or {}).get("content") or ""
                if text:
                    answer.parts.append(text)
                    yield text
    raise Interrupted("The answer broke off: the gateway closed the connection before its end. Ask again.")


def _events(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of each server-sent event. Ours are one line each (WHATWG HTML §9.2 allows more)."""
    try:
        while line := response.readline():
            if line.startswith(b"data:"):
                yield line[5:].strip()
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"The answer broke off: {error or type(error).__name__}. Ask again.") from error


def _refused(response: http.client.HTTPResponse) -> Refused:
    try:
        raw = response.read(65536)
    except (OSError, http.client.HTTPException):
        raw = b""
    said = _json(raw, {})
    error = said.get("error") if isinstance(said, dict) else None
    error = error if isinstance(error, dict) else {}
    wait = response.headers.get("retry-after", "")
    return Refused(
        str(error.get("message") or f"The gateway answered {response.status} without saying why."),
        status=response.status,
        code=str(error.get("code") or ""),
        retry_after=float(wait) if wait.isdigit() else None,
    )


def _json(raw: bytes, default: Any = None) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        if default is None:
            raise Interrupted(
                "What came is not JSON: this is not a gateway, or it broke. Check the address."
            ) from error
        return default
