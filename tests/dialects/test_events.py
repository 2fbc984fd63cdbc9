"""The stream reader: framing, the commit point, the usage, and every way a stream can lie."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.dialects.events import SSEReader, decode_block, payload
from potluck.errors import Malformed, TargetFailed, Unavailable
from potluck.types import Usage


def event(delta: dict[str, object] | None = None, finish: str | None = None, **more: object) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return b"data: " + msgspec.json.encode({"choices": choices, **more}) + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
HELLO = event({"content": "Hello"})
STOP = event(finish="stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = ROLE + HELLO + STOP + USAGE + DONE


def read(*pieces: bytes, keep_usage: bool = False) -> tuple[bytes, SSEReader]:
    reader = SSEReader(keep_usage=keep_usage)
    out = []
    for piece in pieces:
        chunk = reader.feed(piece)
        out.append(chunk.raw if chunk else b"")
    last = reader.end()
    out.append(last.raw if last else b"")
    return b"".join(out), reader


def test_a_role_only_event_is_not_worth_committing_to() -> None:
    reader = SSEReader(keep_usage=False)
    assert reader.feed(ROLE) is not None
    assert not reader.meaningful


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
    ],
)
def test_the_first_word_thought_or_tool_call_is_the_commit_point(delta: dict[str, object]) -> None:
    reader = SSEReader(keep_usage=False)
    reader.feed(event(delta))
    assert reader.meaningful


def test_an_answer_that_ends_at_once_is_meaningful_too() -> None:
    reader = SSEReader(keep_usage=False)
    reader.feed(STOP)
    assert reader.meaningful
    assert reader.finished


def test_what_arrived_is_forwarded_byte_for_byte() -> None:
    out, _ = read(ROLE + HELLO + STOP)
    assert out == ROLE + HELLO + STOP


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_where_the_network_cuts_the_bytes_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in itertools.pairwise(edges) if a < b]
    out, reader = read(*pieces)
    assert out == ROLE + HELLO + STOP
    assert reader.usage == Usage(7, 2)
    assert reader.done


def test_the_usage_event_is_kept_for_a_client_that_asked_for_it() -> None:
    out, _ = read(WHOLE, keep_usage=True)
    assert out == ROLE + HELLO + STOP + USAGE


def test_the_usage_event_is_hidden_from_a_client_that_did_not_ask_but_still_read() -> None:
    out, reader = read(WHOLE)
    assert b"usage" not in out
    assert reader.usage == Usage(7, 2)


def test_usage_in_a_vendor_extension_of_the_last_event_is_found() -> None:
    last = event(finish="stop", x_groq={"usage": {"prompt_tokens": 5, "completion_tokens": 3}})
    _, reader = read(HELLO + last + DONE)
    assert reader.usage == Usage(5, 3)


def test_a_total_without_its_parts_is_never_under_counted() -> None:
    _, reader = read(HELLO + STOP + b'data: {"choices":[],"usage":{"total_tokens":12}}\n\n')
    assert reader.usage is not None
    assert reader.usage.total == 12


def test_a_stream_cut_before_its_finish_reason_is_never_an_end() -> None:
    reader = SSEReader(keep_usage=False)
    reader.feed(ROLE + HELLO)
    with pytest.raises(Unavailable):
        reader.end()


def test_a_stream_cut_inside_an_event_is_not_taken_for_whole() -> None:
    reader = SSEReader(keep_usage=False)
    reader.feed(HELLO + STOP[:20])
    with pytest.raises(TargetFailed):
        reader.end()


def test_a_finished_stream_without_the_terminator_is_whole() -> None:
    out, reader = read(HELLO + STOP)
    assert out == HELLO + STOP
    assert reader.finished
    assert not reader.done


def test_a_last_event_without_its_blank_line_is_still_read() -> None:
    out, _ = read(HELLO + STOP.rstrip())
    assert out == HELLO + STOP


def test_an_event_that_is_not_json_fails_the_target() -> None:
    with pytest.raises(Malformed):
        SSEReader(keep_usage=False).feed(b"data: {not json}\n\n")


def test_an_error_event_inside_a_200_fails_the_target_with_its_message() -> None:
    with pytest.raises(Unavailable, match="overloaded"):
        SSEReader(keep_usage=False).feed(b'data: {"error":{"message":"overloaded"},"choices":[]}\n\n')


def test_a_null_error_field_is_no_error() -> None:
    out, _ = read(b'data: {"error":null,"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n')
    assert b'"a"' in out


def test_keep_alive_comments_are_no_answer() -> None:
    reader = SSEReader(keep_usage=False)
    assert reader.feed(b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n") is None
    assert not reader.meaningful


def test_crlf_framing_is_read_like_lf_framing() -> None:
    out, reader = read(WHOLE.replace(b"\n", b"\r\n"))
    assert reader.usage == Usage(7, 2)
    assert b"".join(one.text.encode() for one in decode_block(out)) == b"Hello"


def test_an_event_without_end_does_not_fill_the_memory() -> None:
    reader = SSEReader(keep_usage=False)
    for _ in range(3):
        reader.feed(b"x" * 1024 * 1024)
    with pytest.raises(Malformed):
        reader.feed(b"x" * 1024 * 1024 * 2)


@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_chunk_or_a_failure_of_the_target(data: bytes) -> None:
    reader = SSEReader(keep_usage=False)
    try:
        reader.feed(data)
        reader.end()
    except TargetFailed:
        return
    assert reader.finished


def test_data_over_several_lines_is_one_payload() -> None:
    assert payload(b"event: x\ndata: a\ndata: b") == b"a\nb"
    assert payload(b": comment") is None


def test_a_decoded_block_shows_text_reasoning_finish_and_tool_calls() -> None:
    block = event({"reasoning": "hm"}) + HELLO + event({"tool_calls": [{"index": 0}]}, "tool_calls")
    thinking, hello, call = decode_block(block)
    assert (thinking.reasoning, hello.text, call.finish) == ("hm", "Hello", "tool_calls")
    assert call.tool_calls == [{"index": 0}]


def test_a_field_of_an_unexpected_type_does_not_fail_a_good_answer() -> None:
    odd = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":"7"}}\n\n'
    out, reader = read(odd)
    assert out == odd
    assert reader.usage == Usage(7, 0)


def test_an_event_that_is_no_object_fails_the_target() -> None:
    with pytest.raises(Malformed):
        SSEReader(keep_usage=False).feed(b"data: [1,2]\n\n")
