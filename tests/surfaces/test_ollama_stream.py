"""How answers look in Ollama's format: lines, their end, and the times they tell."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import PotluckError
from potluck.surfaces.surface import About
from potluck.types import Attempt, Chunk, Event, Request, Usage
from tests.surfaces.test_ollama import CALM, CHAT, GENERATE, parse


class Watch:
    """A clock that a test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def about(request: Request | None = None, clock: Watch | None = None) -> About:
    return About("7", "auto", 0.0, request or parse(), 10.0, clock)


def lines(raw: bytes) -> list[Any]:
    assert raw.endswith(b"\n")
    return [msgspec.json.decode(line) for line in raw.splitlines()]


TEXTS = st.lists(st.tuples(st.text(), st.text()), max_size=8)


@CALM
@given(pieces=TEXTS, chat=st.booleans(), broken=st.booleans())
def test_every_line_is_one_object_and_only_a_whole_answer_is_done(
    pieces: list[tuple[str, str]], chat: bool, broken: bool
) -> None:
    surface = CHAT if chat else GENERATE
    request = parse() if chat else parse(GENERATE, prompt="hi")
    writer = surface.writer(about(request))
    raw = b"".join(writer.take(Chunk.of(Event(text=text, reasoning=thought))) for text, thought in pieces)
    raw += writer.broke(PotluckError("It broke off.")) if broken else writer.ending()
    found = lines(raw)
    told = [line["message"] if chat else line for line in found if "error" not in line]
    assert "".join(one["content" if chat else "response"] for one in told) == "".join(t for t, _ in pieces)
    assert "".join(one.get("thinking", "") for one in told) == "".join(thought for _, thought in pieces)
    assert [line.get("done") for line in found[:-1]] == [False] * (len(found) - 1)
    if broken:
        assert found[-1] == {"error": "It broke off."}
    else:
        assert found[-1]["done"] is True


def test_a_call_of_a_tool_is_written_whole_with_its_arguments_as_an_object() -> None:
    writer = CHAT.writer(about())
    parts = ['{"ci', 'ty":"Kyiv"}']
    calls = [{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": parts[0]}}]
    raw = writer.take(Chunk.of(Event(tool_calls=calls)))
    raw += writer.take(Chunk.of(Event(tool_calls=[{"index": 0, "function": {"arguments": parts[1]}}])))
    raw += writer.take(Chunk.of(Event(finish="tool_calls", usage=Usage(5, 6)))) + writer.ending()
    call, last = lines(raw)
    assert call["message"]["tool_calls"][0]["function"] == {
        "index": 0,
        "name": "weather",
        "arguments": {"city": "Kyiv"},
    }
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 5, 6)


def test_half_a_call_of_a_tool_is_never_shown() -> None:
    writer = CHAT.writer(about())
    calls = [{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"ci'}}]
    raw = writer.take(Chunk.of(Event(tool_calls=calls))) + writer.broke(PotluckError("It broke off."))
    assert lines(raw) == [{"error": "It broke off."}]


def test_durations_are_measured_in_nanoseconds_and_add_up() -> None:
    request = parse()
    request.trace.attempts = [Attempt("a/m", "busy"), Attempt("b/m", "ok", started=12.0, first=12.5)]
    writer = CHAT.writer(about(request, Watch(15.0)))
    last = lines(writer.take(Chunk.of(Event(text="x", finish="length"))) + writer.ending())[-1]
    told = {name: value for name, value in last.items() if name.endswith("_duration")}
    assert told == {
        "total_duration": 5_000_000_000,
        "load_duration": 2_000_000_000,
        "prompt_eval_duration": 500_000_000,
        "eval_duration": 2_500_000_000,
    }
    assert last["done_reason"] == "length"


def test_nothing_is_told_that_was_not_measured() -> None:
    last = lines(CHAT.writer(about()).ending())[-1]
    assert not [name for name in last if name.endswith("_duration")]
    assert last["estimated"] is True


def test_reasoning_is_shown_unless_the_client_wants_none() -> None:
    events = [Event(reasoning="hm"), Event(text="so", finish="stop")]
    shown = msgspec.json.decode(CHAT.whole(events, about()))["message"]
    hidden = msgspec.json.decode(CHAT.whole(events, about(parse(think=False))))["message"]
    writer = CHAT.writer(about(parse(think=False)))
    assert (shown["thinking"], "thinking" in hidden) == ("hm", False)
    assert b"hm" not in writer.take(Chunk.of(*events))
