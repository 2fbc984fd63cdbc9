"""The Responses format through the whole house: real sockets, the real SDK, pretend providers behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck import sim
from potluck.errors import Interrupted, Invalid
from potluck.surfaces.responses import Responses
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace
from tests.house import House, error_of, house

FREE = {"groq": sim.Options(unlimited=True)}
SURFACE = Responses()
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


def parse(**fields: Any) -> Request:
    body = msgspec.json.encode({"model": "auto", "input": "hi", **fields})
    return SURFACE.parse(Asked(body), Trace(id="x"))


def events_of(raw: bytes) -> list[dict[str, Any]]:
    lines = [line for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line[6:]) for line in lines]


async def ask(home: House, **fields: Any) -> httpx2.Response:
    return await home.client.post("/v1/responses", json={"model": "auto", "input": "hello", **fields})


def test_items_become_messages() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    out = {"type": "function_call_output", "call_id": "c", "output": "Sun"}
    said = {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
    request = parse(instructions="Brief.", input=[said, {"type": "reasoning", "summary": []}, call, out])
    function = {"name": "weather", "arguments": "{}"}
    assert request.decoded("messages") == [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "Sun"},
    ]


def test_tools_that_every_coding_client_sends_are_ignored_and_others_refused_by_name() -> None:
    request = parse(tools=[{"type": "web_search"}, {"type": "local_shell"}, WEATHER], include=[], store=False)
    assert [tool["function"]["name"] for tool in request.decoded("tools")] == ["weather"]
    assert request.trace.notes["ignored"] == "web_search, local_shell"
    with pytest.raises(Invalid, match="file_search"):
        parse(tools=[{"type": "file_search"}])
    with pytest.raises(Invalid, match="background"):
        parse(background=True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["type", "role", "content", "input", "tools", "name", "output", "text", "format"]), inner
    ),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(st.binary() | st.dictionaries(st.sampled_from(["input", "tools", "text", "tool_choice", "reasoning",
       "instructions", "previous_response_id"]), json_values).map(msgspec.json.encode))  # fmt: skip
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    with contextlib.suppress(Invalid):  # anything else fails the test
        assert SURFACE.parse(Asked(body), Trace()).tokens_in > 0


pieces = st.lists(
    st.builds(Event, text=st.text(max_size=3), reasoning=st.text(max_size=3))
    | st.integers(0, 2).map(lambda n: Event(tool_calls=[{"index": n, "id": f"c{n}", "function": {"name": "weather",
                                                                                        "arguments": "{}"}}])),
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(pieces, st.sampled_from(["stop", "length", "tool_calls", None]), st.booleans())
def test_events_are_numbered_and_nested_and_only_a_whole_answer_completes(
    pieces: list[Event], finish: str | None, cut: bool
) -> None:
    writer = SURFACE.writer(About("x", "auto", 1.0, parse(tools=[WEATHER])))
    raw = b"".join(writer.take(Chunk.of(piece)) for piece in [*pieces, Event(finish=finish)])
    raw += writer.broke(Interrupted("It broke off.")) if cut else writer.ending()
    events = events_of(raw)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    end = "failed" if cut else "incomplete" if finish == "length" else "completed"
    assert kinds[-1] == f"response.{end}"
    assert ("response.completed" in kinds) is (end == "completed")
    added = [e["output_index"] for e in events if e["type"] == "response.output_item.added"]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert added == list(range(len(added)))
    assert events[-1]["response"]["output"] == done
    if not cut:
        text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
        assert text == "".join(piece.text for piece in pieces)
        assert len(done) == len(added)


async def test_the_sdk_asks_streams_continues_and_deletes(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        client = openai.AsyncOpenAI(base_url=home.url + "/v1", api_key="none", max_retries=0)
        async with client:
            first = await client.responses.create(model="auto", input="hello", instructions="Brief.")
            assert first.status == "completed"
            assert first.output_text
            async with client.responses.stream(
                model="auto", input="and now?", previous_response_id=first.id
            ) as stream:
                kinds = [event.type async for event in stream]
                second = await stream.get_final_response()
            assert kinds[-1] == "response.completed"
            sent = home.world.provider("groq").bodies[-1]["messages"]
            assert [message["role"] for message in sent] == ["user", "assistant", "user"]
            assert sent[1]["content"] == first.output_text
            assert (await client.responses.retrieve(second.id)).output_text == second.output_text
            items = await client.responses.input_items.list(second.id)
            assert items.data[0].type == "message"
            await client.responses.delete(first.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(first.id)
            with pytest.raises(openai.BadRequestError, match="not stored here"):
                await client.responses.create(model="auto", input="x", previous_response_id=second.id)


async def test_a_tool_is_called_over_a_stream(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        answer = await ask(home, input="use tool", tools=[WEATHER], stream=True)
    last = events_of(answer.content)[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["output"][0]["type"] == "function_call"
    assert last["response"]["output"][0]["name"] == "weather"


async def test_what_was_not_to_be_stored_is_not_and_cancelling_says_why_not(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        kept, passing = (await ask(home)).json()["id"], (await ask(home, store=False)).json()["id"]
        assert (await home.client.get(f"/v1/responses/{passing}")).status_code == 404
        refused = await home.client.post(f"/v1/responses/{kept}/cancel", json={})
    assert refused.status_code == 400
    assert "background" in error_of(refused)["message"]
