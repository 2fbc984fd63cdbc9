"""OpenAI's batch input, JSON Lines: read one line at a time, with every mistake and the line it is on.

Rules: nothing of a body is decoded beyond `model`; what the endpoint thinks of a body is that line's own answer.
A file is refused as a whole, with OpenAI's `errors.data`, of which the first SHOWN are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

SHOWN = 100  # mistakes listed; a file of another kind would make one a line
LONGEST_ID = 512  # characters of a custom_id


class Mistake(msgspec.Struct, frozen=True):
    """One entry of `errors.data`. `line` counts from 1; None is the file as a whole."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """One good line: `size` bytes at `offset` of the file, the line's end not counted."""

    number: int
    custom_id: str
    offset: int
    size: int


class _Shape(msgspec.Struct):
    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw()  # a union with None would not be taken for raw


class _Model(msgspec.Struct):
    model: str = ""


_decode = msgspec.json.Decoder(_Shape).decode
_model = msgspec.json.Decoder(_Model).decode


def read(lines: Iterable[bytes], endpoint: str, most: int) -> Iterator[Asked | Mistake]:
    """Good lines and mistakes in the order of the file. Blank lines are passed over, and counted as lines."""
    seen: set[str] = set()
    offset = found = 0
    for number, raw in enumerate(lines, 1):
        text = raw.rstrip(b"\r\n")
        if text.strip():
            found += 1
            if found > most:
                yield Mistake("too_many_tasks", f"A batch takes at most {most:,} requests.")
                return
            yield _one(text, number, offset, endpoint, seen)
        offset += len(raw)
    if not found:
        yield Mistake("empty_file", "The input file has no requests in it.")


def _one(text: bytes, number: int, offset: int, endpoint: str, seen: set[str]) -> Asked | Mistake:
    try:
        shape = _decode(text)
        text.decode()  # strings that nobody decoded may hold bytes that are no UTF-8
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Mistake("invalid_json_line", "This line is not parseable as a JSON object.", None, number)
    id = shape.custom_id
    mistake = _wrong(shape, endpoint, seen)
    if mistake is not None:
        code, param, message = mistake
        return Mistake(code, message, param, number)
    seen.add(id)
    return Asked(number, id, offset, len(text))


def _wrong(shape: _Shape, endpoint: str, seen: Collection[str]) -> tuple[str, str, str] | None:
    """(code, param, message)"""
    id = shape.custom_id
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        return (
            "missing_required_parameter",
            "custom_id",
            f"A string of 1 to {LONGEST_ID} characters is needed.",
        )
    if id in seen:
        return "duplicate_custom_id", "custom_id", "An earlier line has this custom_id already."
    if shape.method != "POST":
        return "invalid_method", "method", "The method of every line is POST."
    if shape.url != endpoint:
        return "mismatched_url", "url", f"The url of every line is the batch's endpoint, {endpoint}."
    if not bytes(shape.body).lstrip().startswith(b"{"):
        return "missing_required_parameter", "body", "The body of the request, a JSON object, is needed."
    return None


def errors(mistakes: Iterable[Mistake]) -> dict[str, Any]:
    """The `errors` of a batch that failed validation."""
    shown = [one for one, _ in zip(mistakes, range(SHOWN), strict=False)]
    return {"object": "list", "data": [msgspec.structs.asdict(one) for one in shown]}


def body_of(line: bytes) -> tuple[bytes, str]:
    """What a good line asks, and the model it names, "" if it names none."""
    body = bytes(_decode(line).body)
    try:
        model = _model(body).model
    except msgspec.MsgspecError:
        model = ""  # of the wrong type, which is for the endpoint to say
    return body, model


def compact(body: bytes) -> str:
    """JSON on one line. Raises msgspec.DecodeError."""
    return msgspec.json.format(body, indent=-1).decode("utf-8", "replace")


def render(id: str, custom_id: str, status: int, request: str, body: bytes) -> bytes:
    """One line of the output or error file; `body` is the JSON that an interactive client would have had.

    `status` 0: it was never asked, and `body` is the error that says why.
    """
    if not status:
        return (
            msgspec.json.encode(
                {"id": id, "custom_id": custom_id, "response": None, "error": msgspec.Raw(body)}
            )
            + b"\n"
        )
    response = {"status_code": status, "request_id": request, "body": msgspec.Raw(body)}
    line = {"id": id, "custom_id": custom_id, "response": response, "error": None}
    return msgspec.json.encode(line) + b"\n"
