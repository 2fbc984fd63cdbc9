"""Legacy completions: what a client may send, how texts and streams look, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import sim
from potluck.errors import Invalid, PotluckError, Unsupported
from potluck.surfaces.completions import Completions
from potluck.surfaces.moderations import Moderations
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace, Usage
from tests.house import House, error_of, house
from tests.surfaces.test_ollama import CALM, JSON

SURFACE = Completions()
FREE = {"groq": sim.Options(unlimited=True)}


def parse(**fields: Any) -> Request:
    return SURFACE.parse(Asked(msgspec.json.encode({"prompt": "Once", **fields})), Trace())


def about(**fields: Any) -> About:
    return About("7", "auto", 3.0, parse(**fields))


def test_a_prompt_becomes_a_message_and_the_rest_stays() -> None:
    request = parse(max_tokens=5, temperature=0, stop=["\n"], echo=True, logprobs=None, n=1, best_of=1)
    assert {name: request.decoded(name) for name in request.body} == {
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 5,
        "temperature": 0,
        "stop": ["\n"],
    }
    assert (request.tokens_out, request.limited, request.stream) == (5, True, False)
    assert parse(prompt=["Once"]).body["messages"] == request.body["messages"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": ["a"] * 9}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": ["a", "b"], "echo": True}, "echo"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"suffix": "the end"}, "suffix"),
        ({"n": 9}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 5}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_name(fields: Any, param: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(**fields)
    assert refused.value.param == param


@CALM
@given(
    body=st.dictionaries(
        st.sampled_from(["prompt", "model", "n", "echo", "stream", "stream_options", "suffix", "stop"]), JSON
    ).map(msgspec.json.encode)
    | st.binary(max_size=200)
)
def test_any_body_is_a_request_or_a_clear_refusal(body: bytes) -> None:
    refused: PotluckError | None = None
    try:
        request = SURFACE.parse(Asked(body), Trace())
    except PotluckError as error:
        refused = error
    if refused is not None:
        assert refused.status == 400
        return
    assert request.tokens_in > 0
    SURFACE.writer(About("7", "auto", 0.0, request)).ending()


@CALM
@given(pieces=st.lists(st.text(), max_size=6), echo=st.booleans())
def test_a_stream_says_what_the_json_answer_says(pieces: list[str], echo: bool) -> None:
    events = [Event(text=piece) for piece in pieces] + [Event(finish="length", usage=Usage(3, 4))]
    mine = about(echo=echo, stream=True, stream_options={"include_usage": True})
    whole = msgspec.json.decode(SURFACE.whole(events, mine))
    writer = SURFACE.writer(mine)
    raw = b"".join(writer.take(Chunk.of(event)) for event in events) + writer.ending()
    *chunks, done, rest = raw.split(b"\n\n")
    found = [msgspec.json.decode(chunk[6:]) for chunk in chunks]
    assert "".join(one["choices"][0]["text"] for one in found[:-1]) == whole["choices"][0]["text"]
    assert whole["choices"][0]["text"] == ("Once" if echo else "") + "".join(pieces)
    assert found[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    assert found[-1]["usage"] == whole["usage"]
    assert {one["object"] for one in found} == {"text_completion"}
    assert (done, rest) == (b"data: [DONE]", b"")


def test_a_stream_tells_its_usage_only_when_asked_and_says_when_it_is_an_estimate() -> None:
    assert b"usage" not in SURFACE.writer(about(stream=True)).ending()
    asked = SURFACE.writer(about(stream=True, stream_options={"include_usage": True})).ending()
    assert b'"estimated":true' in asked


async def ask(home: House, **fields: Any) -> Any:
    return await home.client.post("/v1/completions", json={"model": "auto", "prompt": "Once", **fields})


async def test_a_text_comes_whole_and_in_pieces_through_the_house(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        whole = (await ask(home, echo=True)).json()
        streamed = await ask(home, stream=True, stream_options={"include_usage": True})
    data = [line[6:] for line in streamed.text.split("\n") if line.startswith("data: ")]
    chunks = [msgspec.json.decode(one) for one in data[:-1]]
    said = "".join(chunk["choices"][0]["text"] for chunk in chunks[:-1])
    assert data[-1] == "[DONE]"
    assert whole["choices"][0]["text"] == "Once" + said
    assert whole["usage"] == chunks[-1]["usage"]
    assert whole["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("kind", ["cut", "clean_cut", "stream_error"])
async def test_a_cut_stream_is_never_passed_off_as_whole(tmp_path: Path, kind: str) -> None:
    async with house(tmp_path, FREE) as home:
        home.world.fault("groq", kind, after=5, times=-1)
        answer = await ask(home, stream=True)
    assert "[DONE]" not in answer.text
    assert '"error"' in answer.text


async def test_moderation_says_that_it_is_not_there_yet(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        answer = await home.client.post("/v1/moderations", json={"input": "x"})
        empty = await home.client.post("/v1/moderations", json={"input": ""})
        assert home.received("groq") == 0
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (501, "unsupported")
    assert "stage 'moderation'" in error["message"]
    assert (empty.status_code, error_of(empty)["param"]) == (400, "input")


@CALM
@given(body=st.dictionaries(st.sampled_from(["input", "model"]), JSON).map(msgspec.json.encode) | st.binary())
def test_no_body_gets_a_verdict(body: bytes) -> None:
    with pytest.raises((Invalid, Unsupported)):
        Moderations().parse(Asked(body), Trace())
