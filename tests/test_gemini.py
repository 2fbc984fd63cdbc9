"""Gemini's format through the whole house: real sockets, pretend providers of another format behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck import sim
from potluck.errors import Invalid
from potluck.surfaces import gemini
from potluck.surfaces.folding import Fold, signature_of
from potluck.surfaces.routes import family, surface_of
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace, Usage
from tests.house import House, house

FREE = {"groq": sim.Options(unlimited=True)}
HI: Any = [{"role": "user", "parts": [{"text": "hello"}]}]
WEATHER = {"functionDeclarations": [{"name": "weather", "parameters": {"type": "OBJECT", "properties": {}}}]}


async def ask(
    home: House, method: str = "generateContent", query: str = "", **fields: Any
) -> httpx2.Response:
    body = {"contents": HI, **fields}
    return await home.client.post(f"/v1beta/models/auto:{method}{query}", json=body)


def text_of(answers: list[dict[str, Any]]) -> str:
    parts = [part for one in answers for part in one["candidates"][0]["content"]["parts"]]
    return "".join(part.get("text", "") for part in parts)


async def test_a_whole_answer_a_stream_of_events_and_a_stream_of_an_array_say_the_same(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, FREE) as home:
        whole = (await ask(home)).json()
        events = await ask(home, "streamGenerateContent", "?alt=sse")
        array = await ask(home, "streamGenerateContent")
    streamed = [
        msgspec.json.decode(line[6:]) for line in events.text.split("\r\n") if line.startswith("data: ")
    ]
    assert events.headers["content-type"].startswith("text/event-stream")
    assert array.headers["content-type"].startswith("application/json")
    assert text_of([whole]) == text_of(streamed) == text_of(array.json())
    assert whole["candidates"][0]["finishReason"] == "STOP"
    assert streamed[-1]["usageMetadata"] == array.json()[-1]["usageMetadata"] == whole["usageMetadata"]
    assert whole["usageMetadata"]["candidatesTokenCount"] == 20


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
async def test_a_round_of_tools_comes_and_goes_by_id(tmp_path: Path, method: str) -> None:
    asked: Any = [{"role": "user", "parts": [{"text": "use tool"}]}]
    async with house(tmp_path, FREE) as home:
        said = (await ask(home, method, contents=asked, tools=[WEATHER])).json()
        last = said if isinstance(said, dict) else said[-1]
        [part] = [p for p in last["candidates"][0]["content"]["parts"] if "functionCall" in p]
        answer = {"functionResponse": {"name": "weather", "response": {"sun": True}}}
        turns = [*asked, {"role": "model", "parts": [part]}, {"role": "user", "parts": [answer]}]
        again = await ask(home, contents=turns, tools=[WEATHER])
        sent = home.world.provider("groq").bodies[-1]["messages"]
    assert again.status_code == 200
    assert part["functionCall"]["name"] == "weather"
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
    assert msgspec.json.decode(sent[2]["content"]) == {"sun": True}


async def test_a_cut_stream_is_an_error_and_an_array_that_is_cut_reads_as_cut(tmp_path: Path) -> None:
    async with house(tmp_path, FREE, continue_streams=False) as home:
        for query in ("?alt=sse", ""):
            home.world.fault("groq", "cut", after=3)
            answer = await ask(home, "streamGenerateContent", query)
            assert '"status":"UNAVAILABLE"' in answer.text
            assert "finishReason" not in answer.text
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(answer.content)


async def test_errors_come_in_this_formats_shape_also_where_nothing_is(tmp_path: Path) -> None:
    async with house(tmp_path, FREE) as home:
        found = [
            await home.client.post("/v1beta/models/nobody:generateContent", json={"contents": HI}),
            await ask(home, contents=[]),
            await ask(home, "streamGenerateContent", generationConfig={"candidateCount": 2}),
            await home.client.get("/v1beta/models/nobody"),
            await home.client.get("/v1beta/nothing"),
            await home.client.get("/v1beta/models/auto:generateContent"),
        ]
    said = [(one.status_code, one.json()["error"]["status"]) for one in found]
    bad = (400, "INVALID_ARGUMENT")
    assert said == [
        (404, "NOT_FOUND"),
        bad,
        bad,
        (404, "NOT_FOUND"),
        (404, "NOT_FOUND"),
        (405, "UNIMPLEMENTED"),
    ]
    assert all(one.json()["error"]["code"] == one.status_code for one in found)


async def test_models_are_listed_tokens_counted_and_texts_embedded(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq", "mistral"]) as home:
        names = {row["name"] for row in (await home.client.get("/v1beta/models")).json()["models"]}
        one = (await home.client.get("/v1beta/models/gpt-oss-120b")).json()
        counted = (await ask(home, "countTokens")).json()
        nested = await ask(home, "countTokens", generateContentRequest={"contents": HI})
        path = "/v1beta/models/mistral/mistral-embed"
        content = {"parts": [{"text": "a"}]}
        single = await home.client.post(f"{path}:embedContent", json={"content": content})
        many = await home.client.post(
            f"{path}:batchEmbedContents", json={"requests": [{"content": content}] * 2}
        )
        own = {"x-goog-api-client": "genai-sdk"}
        stable = (await home.client.get("/v1/models", headers=own)).json()["models"]
        usual = (await home.client.get("/v1/models")).json()["data"]
        number = await home.client.post("/v1/models/auto:countTokens", json={"contents": HI}, headers=own)
    assert len(stable) == len(usual)
    assert number.json() == counted
    assert {"models/auto", "models/gpt-oss-120b"} <= names
    assert one["inputTokenLimit"] > 100_000
    assert 0 < counted["totalTokens"] == nested.json()["totalTokens"] < 100
    assert len(single.json()["embedding"]["values"]) == 64
    assert len(many.json()["embeddings"]) == 2


async def test_a_key_in_its_header_or_in_the_address_opens_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    from potluck.store import keys

    async with house(tmp_path, FREE) as home:
        connection = home.gateway.database.connect()
        _, text = keys.create(connection, "bob", keys.Limits(), now=0.0)
        connection.close()
        home.gateway.keyring.refresh()
        path, body = "/v1beta/models/auto:generateContent", {"contents": HI}
        good = await home.client.post(path, json=body, headers={"x-goog-api-key": text})
        asked = await home.client.post(f"{path}?key={text}", json=body)
        bad = await home.client.post(path, json=body, headers={"x-goog-api-key": "pk-wrong"})
    assert [one.status_code for one in (good, asked, bad)] == [200, 200, 401]
    assert bad.json()["error"]["status"] == "UNAUTHENTICATED"


def parsed(**fields: Any) -> Request:
    body = msgspec.json.encode({"contents": HI, **fields})
    return gemini.GENERATE.parse(Asked(body, "/v1beta/models/auto:generateContent"), Trace())


def test_parameters_schemas_and_choices_of_tools_become_those_of_a_chat() -> None:
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "nullable": True}}, "required": ["n"]}
    config = {
        "temperature": 0.5,
        "topP": 0.9,
        "maxOutputTokens": 7,
        "stopSequences": ["x"],
        "responseSchema": schema,
    }
    request = parsed(
        generationConfig=config,
        systemInstruction={"parts": [{"text": "Be brief."}]},
        tools=[WEATHER],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    )
    body = {name: request.decoded(name) for name in request.body}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["stop"]) == (0.5, 0.9, 7, ["x"])
    form = body["response_format"]["json_schema"]["schema"]
    assert form == {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}, "required": ["n"]}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert request.needs >= {"tools", "json_schema"}


def test_a_thought_signature_travels_both_ways_to_the_byte() -> None:
    signature = "Ab+/==\u00e9"
    extra = {"google": {"thought_signature": signature}}
    call = {
        "index": 0,
        "id": "c1",
        "function": {"name": "weather", "arguments": "{}"},
        "extra_content": extra,
    }
    about = About("id", "auto", 0.0, parsed())
    answer = msgspec.json.decode(
        gemini.GENERATE.whole([Event(tool_calls=[call], finish="tool_calls")], about)
    )
    [part] = answer["candidates"][0]["content"]["parts"]
    assert part["thoughtSignature"] == signature
    again = parsed(
        contents=[
            *HI,
            {"role": "model", "parts": [part]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {}}}]},
        ]
    )
    assert signature_of(again.decoded("messages")[1]["tool_calls"][0]["extra_content"]) == signature


def test_thoughts_are_shown_to_those_who_asked() -> None:
    asked = parsed(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    for request, shown in ((asked, 2), (parsed(), 1)):
        writer = gemini.EVENTS.writer(About("id", "auto", 0.0, request))
        out = writer.take(Chunk.of(Event(reasoning="hm", text="yes", usage=Usage(1, 1))))
        assert out.count(b'"text"') == shown


def test_calls_in_pieces_are_put_together() -> None:
    fold = Fold()
    for delta in (
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"id": "b", "function": {"name": "g", "arguments": {"y": 2}}},
    ):
        fold.take(Event(tool_calls=[delta]))
    assert [(call.id, call.name, call.decoded()) for call in fold.calls] == [
        ("a", "f", {"x": 1}),
        ("b", "g", {"y": 2}),
    ]


def test_paths_lead_to_their_surface_and_others_to_none() -> None:
    assert surface_of("/v1beta/models/groq/openai/x:generateContent") is gemini.GENERATE
    assert surface_of("/v1beta/models/a:streamGenerateContent", b"alt=sse&key=k") is gemini.EVENTS
    assert surface_of("/v1beta/models/a:streamGenerateContent") is gemini.ARRAY
    assert surface_of("/v1beta/models/a:countTokens") is None
    assert surface_of("/v1/models/a:generateContent") is gemini.GENERATE
    assert surface_of("/v1/models/llama3:8b") is None
    assert gemini.model_in("/v1/models/a:generateContent") == "a"
    assert gemini.model_in("/v1beta/models/groq/a:b:generateContent") == "groq/a:b"
    assert family("/v1beta/whatever") is gemini.GENERATE


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "parts",
                    "text",
                    "role",
                    "functionCall",
                    "functionResponse",
                    "name",
                    "args",
                    "inlineData",
                    "mimeType",
                    "data",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "contents",
                "tools",
                "toolConfig",
                "generationConfig",
                "systemInstruction",
                "content",
                "requests",
            ]
        ),
        JSON,
    )
)
def test_any_object_is_a_request_or_invalid(fields: dict[str, Any]) -> None:
    body = msgspec.json.encode(fields)
    for surface in (gemini.GENERATE, gemini.EVENTS, *gemini.METHODS.values()):
        with contextlib.suppress(Invalid):
            surface.parse(Asked(body, "/v1beta/models/auto:generateContent"), Trace())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_invalid(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        gemini.GENERATE.parse(Asked(body, "/v1beta/models/auto:generateContent"), Trace())
