"""Any bytes, split anywhere: the same bytes give the same answer, and only whole answers look whole.

The connection is fed directly, through a transport that keeps what happens to it, so that every split
is exactly the one meant; test_fuzz.py and test_exchange.py do the same over sockets.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from potluck.errors import Malformed, TargetFailed, Unavailable
from potluck.upstream import Timeouts
from potluck.upstream.connection import MAX_HEADERS, Connection
from tests.upstream.peer import chunked

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def close_the_loop() -> Iterator[None]:
    yield
    LOOP.close()


class Wire(asyncio.Transport):
    """A transport in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = self.paused = False

    def write(self, data: object) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Owner:
    """Notes whether the connection came back for more."""

    name, max_head_bytes = "peer", 4096

    def __init__(self) -> None:
        self.came_back = False

    def opened(self, connection: Connection) -> None: ...

    def idle(self, connection: Connection, keep_for: float | None) -> None:
        self.came_back = True

    def retire(self, connection: Connection) -> None: ...

    def gone(self, connection: Connection) -> None: ...


Result = tuple[int, bytes, TargetFailed | None, bool]  # status, body, failure, whether the socket is reused


def receive(pieces: Sequence[bytes], *, end: bool = True, bodyless: bool = False) -> Result:
    """What a caller sees of these segments, followed by the end of the socket if `end`."""
    owner, wire = Owner(), Wire()
    connection = Connection(owner, LOOP)
    connection.connection_made(wire)
    exchange = connection.start(b"", Timeouts(), bodyless=bodyless)
    for piece in pieces:
        if wire.aborted:
            break
        connection.data_received(piece)
    if end and not exchange.complete:
        connection.eof_received()
    got, failure = [], None
    try:
        while data := _now(exchange.read()):
            got.append(data)
    except TargetFailed as error:
        failure = error
    exchange.close()
    return exchange.status, b"".join(got), failure, owner.came_back


def _now(reading: object) -> bytes:
    """The result of a coroutine that must not need to wait."""
    try:
        reading.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        result: bytes = done.value
        return result
    raise AssertionError("the exchange waits for something that never comes")


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = {
    "length": HEAD + b"content-length: 11\r\nX-Name: value \r\n\r\nhello world",
    "chunked": chunked(b"hello", b" ", b"world"),
    "trailers": HEAD + b"transfer-encoding: Chunked\r\n\r\nb;ext=1\r\nhello world\r\n0\r\nx-end: 1\r\n\r\n",
    "until close": HEAD + b"x: y\r\n\r\nhello world",
    "old": b"HTTP/1.0 200 OK\r\n\r\nhello world",
    "interim": b"HTTP/1.1 100 Continue\r\na: b\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    + HEAD
    + b"content-length: 11\r\n\r\nhello world",
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_every_single_split_point_gives_the_same_answer(data: bytes) -> None:
    for cut in range(1, len(data)):
        assert receive([data[:cut], data[cut:]])[:3] == (200, b"hello world", None)


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_byte_by_byte_gives_the_same_answer(data: bytes) -> None:
    assert receive([data[n : n + 1] for n in range(len(data))])[:3] == (200, b"hello world", None)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_any_chunks_split_anywhere_give_the_same_body(parts: list[bytes], cuts: list[int]) -> None:
    assert receive(split(chunked(*parts), cuts)) == (200, b"".join(parts), None, True)


@pytest.mark.parametrize("name", ["length", "chunked", "trailers", "interim"])
def test_a_cut_anywhere_is_never_passed_off_as_whole(name: str) -> None:
    data = WHOLE[name]
    for cut in range(len(data)):
        _, body, failure, reused = receive([data[:cut]] if cut else [])
        assert isinstance(failure, Unavailable)
        assert failure.sent
        assert b"hello world".startswith(body)
        assert not reused


def test_a_reset_is_not_the_end_of_an_answer_without_length() -> None:
    connection = Connection(Owner(), LOOP)
    connection.connection_made(Wire())
    exchange = connection.start(b"", Timeouts(), bodyless=False)
    connection.data_received(WHOLE["until close"])
    connection.connection_lost(ConnectionResetError())
    assert _now(exchange.read()) == b"hello world"
    with pytest.raises(Unavailable):
        _now(exchange.read())


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_by_its_status_ends_with_its_head(status: int) -> None:
    head = b"HTTP/1.1 %d x\r\ncontent-length: 5\r\n\r\n" % status
    assert receive([head], end=False) == (status, b"", None, True)


def test_the_answer_to_head_ends_with_its_head_and_its_connection_is_not_trusted() -> None:
    data = HEAD + b"content-length: 5\r\n\r\n"
    assert receive([data], end=False, bodyless=True) == (200, b"", None, False)
    assert receive([data + b"hello"], end=False, bodyless=True)[:3] == (200, b"", None)


def test_an_error_or_redirect_is_an_answer_like_any_other() -> None:
    for status in (301, 307, 404, 429, 500, 599):
        data = b"HTTP/1.1 %d x\r\nlocation: https://evil.example/\r\ncontent-length: 2\r\n\r\nno" % status
        assert receive([data], end=False) == (status, b"no", None, True)


@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"\0\0"])
def test_more_than_was_promised_is_an_error_and_ends_the_connection(more: bytes) -> None:
    for pieces in ([WHOLE["length"] + more], [WHOLE["length"], more], [WHOLE["chunked"] + more]):
        _, body, failure, reused = receive(pieces, end=False)
        assert (body, type(failure), reused) == (b"hello world", Unavailable, False)


@pytest.mark.parametrize(
    ("header", "reused"),
    [
        (b"", True),
        (b"connection: close\r\n", False),
        (b"Connection: Keep-Alive, Close\r\n", False),
        (b"upgrade: h2c\r\nconnection: upgrade\r\n", False),
    ],
)
def test_a_connection_is_used_again_only_if_the_peer_agrees(header: bytes, reused: bool) -> None:
    data = HEAD + header + b"content-length: 2\r\n\r\nok"
    assert receive([data], end=False) == (200, b"ok", None, reused)


def test_http_1_0_is_kept_alive_only_on_request() -> None:
    data = b"HTTP/1.0 200 OK\r\n%scontent-length: 2\r\n\r\nok"
    assert receive([data % b""])[3] is False
    assert receive([data % b"connection: keep-alive\r\n"])[3] is True


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok",
        HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: gzip\r\n\r\nok",
        HEAD + b"content-encoding: gzip\r\n\r\n" + zlib.compress(b"ok"),
        HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok",
        HEAD + b"x: y\r\n folded\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b": no name\r\n\r\n",
        HEAD + b"a: b\0c\r\n\r\n",
        HEAD.replace(b"\r\n", b"\n") + b"\n",
    ],
    ids=repr,
)
def test_what_is_not_http_is_malformed_before_a_status_is_believed(data: bytes) -> None:
    status, _, failure, reused = receive([data])
    assert (status, type(failure), reused) == (0, Malformed, False)


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhelloXX", b"fffffffffffffffff\r\n", b"-1\r\n"])
def test_broken_chunks_are_malformed_after_what_was_good(rest: bytes) -> None:
    data = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + rest
    status, body, failure, _ = receive([data])
    assert (status, type(failure)) == (200, Malformed)
    assert body.startswith(b"ok")


@pytest.mark.parametrize(
    "bomb",
    [
        b"x: " + b"a" * 5000 + b"\r\n\r\n",
        b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"x" * 5000,
        b"transfer-encoding: chunked\r\n\r\n0\r\nx: " + b"a" * 5000,
        b"transfer-encoding: chunked\r\n\r\n1;" + b"a" * 5000,
    ],
    ids=["value", "count", "name", "trailer", "extension"],
)
@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_a_bomb_of_head_bytes_is_stopped_in_any_portions(bomb: bytes, size: int) -> None:
    data = HEAD + bomb
    failure = receive([data[n : n + size] for n in range(0, len(data), size)], end=False)[2]
    assert isinstance(failure, Malformed)


def test_endless_interim_answers_are_stopped() -> None:
    failure = receive([b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000, end=False)[2]
    assert isinstance(failure, Malformed)


def test_a_long_stream_of_tiny_chunks_is_no_bomb() -> None:
    head, _, body = chunked(*[b"x"] * 2000).partition(b"\r\n\r\n")
    pieces = [head + b"\r\n\r\n", *(body[n : n + 1] for n in range(len(body)))]
    assert receive(pieces) == (200, b"x" * 2000, None, True)


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=6))
@example([b""])
def test_random_bytes_always_end_in_an_answer_or_a_failure(pieces: list[bytes]) -> None:
    status, _, failure, reused = receive(pieces)
    assert failure is not None or status
    assert failure is None or not reused


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)
)
def test_damaged_answers_always_end_and_never_leave_a_spoilt_connection(
    name: str, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE[name])
    for place, value in damage:
        data[place % len(data)] = value
    _, _, failure, reused = receive([bytes(data)])
    assert failure is None or not reused
