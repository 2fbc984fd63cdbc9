"""Batch input: every mistake is found with its line, and no bytes break the reader."""

from __future__ import annotations

import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.surfaces.batch_lines import SHOWN, Asked, Mistake, errors, read, render

CHAT = "/v1/chat/completions"
GOOD = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"auto"}}'


def found(text: bytes, most: int = 100) -> list[Asked | Mistake]:
    return list(read(io.BytesIO(text), CHAT, most))


def test_good_lines_are_found_where_they_stand_in_the_file() -> None:
    text = GOOD + b"\r\n\n" + GOOD.replace(b'"a"', b'"b"')
    first, second = found(text)
    assert isinstance(first, Asked)
    assert isinstance(second, Asked)
    assert (second.number, second.custom_id) == (3, "b")
    assert text[first.offset :][: first.size] == GOOD
    assert msgspec.json.decode(text[second.offset :][: second.size])["custom_id"] == "b"


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (GOOD.replace(b"auto", b"\xff"), "invalid_json_line", None),
        (GOOD.replace(b'"a"', b"7"), "missing_required_parameter", "custom_id"),
        (GOOD.replace(b'"a"', b'""'), "missing_required_parameter", "custom_id"),
        (GOOD.replace(b"POST", b"GET"), "invalid_method", "method"),
        (GOOD.replace(b"/chat", b""), "mismatched_url", "url"),
        (GOOD.replace(b'{"model":"auto"}', b"[]"), "missing_required_parameter", "body"),
        (GOOD.replace(b'"a"', b'"first"'), "duplicate_custom_id", "custom_id"),
    ],
)
def test_a_bad_line_is_named_with_its_number(line: bytes, code: str, param: str | None) -> None:
    _, bad = found(GOOD.replace(b'"a"', b'"first"') + b"\n" + line)
    assert isinstance(bad, Mistake)
    assert (bad.code, bad.param, bad.line) == (code, param, 2)


def test_a_file_without_requests_or_with_too_many_is_refused_as_a_whole() -> None:
    (empty,) = found(b"\n \n")
    assert isinstance(empty, Mistake)
    assert (empty.code, empty.line) == ("empty_file", None)
    last = found(GOOD + b"\n" + GOOD, most=1)[-1]
    assert isinstance(last, Mistake)
    assert last.code == "too_many_tasks"


def test_a_file_of_another_kind_lists_its_first_mistakes_only() -> None:
    mistakes = [one for one in found(b"x\n" * 500, most=500) if isinstance(one, Mistake)]
    assert len(mistakes) == 500
    assert len(errors(mistakes)["data"]) == SHOWN


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(GOOD))))
def test_no_bytes_break_the_reader(parts: list[bytes]) -> None:
    text = b"\n".join(parts)
    for one in found(text):
        if isinstance(one, Asked):
            assert msgspec.json.decode(text[one.offset :][: one.size])["custom_id"] == one.custom_id


def test_an_output_line_has_openais_fields_and_the_body_as_it_was() -> None:
    line = render("batch_req_1", "a", 200, "r1", b'{"choices": []}')
    assert line.endswith(b"\n")
    assert b'{"choices": []}' in line
    assert msgspec.json.decode(line) == {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r1", "body": {"choices": []}},
        "error": None,
    }
