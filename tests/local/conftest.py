"""The real weights (fetched once, beforehand, by `make`), one running model for a module, and a small hub."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio

from potluck.local.registry import Model, Models
from potluck.local.supervisor import LocalModel


@pytest.fixture(scope="session")
def smollm() -> Model:
    """The built-in model on this disk; `POTLUCK_TEST_DATA` says where, `make` has put it there."""
    place = os.environ.get("POTLUCK_TEST_DATA", "~/.cache/potluck-tests")
    return asyncio.run(Models(Path(place).expanduser()).ready())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(smollm: Model) -> AsyncIterator[LocalModel]:
    """A local model that is up, with embeddings."""
    async with LocalModel(smollm, smollm) as local:
        yield local


def gguf_bytes(*fields: tuple[str, int, bytes], version: int = 3) -> bytes:
    """The head of a GGUF file with these fields: key, type number, encoded value."""
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(fields))
    return head + b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in fields)


def text(value: str) -> bytes:
    """A text as GGUF writes it: length, then UTF-8."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


TINY = gguf_bytes(
    ("general.architecture", 8, text("llama")), ("llama.context_length", 4, struct.pack("<I", 2048))
)
TINY_SHA = hashlib.sha256(TINY).hexdigest()


class Hub:
    """An HTTP server on loopback: `files` are what it has, `cut` sends half of one, `endless` never stops."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/org/repo/tiny.gguf": TINY}
        self.cut = self.endless = False
        self.announce: int | None = None  # a length other than the true one; 0 = none
        self.asked: list[str] = []
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing to say."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.template = self.url + "/{repo}/{file}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        body = self.files.get(request.path)
        request.send_response(404 if body is None else 200)
        length = len(body or b"") if self.announce is None else self.announce
        if length:
            request.send_header("content-length", str(length))
        request.end_headers()
        try:
            while self.endless:
                request.wfile.write(bytes(1 << 16))
            request.wfile.write((body or b"")[: len(body or b"") // 2 if self.cut else None])
        except OSError:
            self.endless = False  # the client went away, as it should


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hub = Hub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()
