"""Small questions packed into one call: how many requests it spares, how many answers are valid, what it costs in time
and in quality.

Through a whole gateway over real sockets. Two models answer: a pretend one that does what the prompt asks and spoils one
packed answer in fifty (left out, doubled, or broken JSON), for the count of requests and of valid answers; and the model
that comes with Potluck, for the price in quality: which of two intents of Banking77 a customer's message has.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
import random
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from bench.evidence.claim import REPORT, Claim, Say, half, interval, needed, percent
from tests.wall import FIRST, Wall, wall

from potluck import sim
from potluck.config import Profile
from potluck.local.registry import Models
from potluck.local.supervisor import LocalModel
from potluck.stages.batching import Batching
from potluck.techniques import Batching as Settings
from potluck.types import Event, Reply, Request, Trace

PACK, ROUNDS, SPOILT = 6, 60, 50
MODEL = FIRST  # a pretend provider that sets no narrow limit


def measure(data: Path, say: Say) -> Claim:
    [path] = needed(data / "banking77", "test.csv.gz")
    with gzip.open(path, "rt") as lines:
        rows = [(text, label) for text, label in list(csv.reader(lines))[1:] if half(text) == REPORT]
    texts = [text for text, _ in rows]
    figures = asyncio.run(pretended(texts[: PACK * ROUNDS]))
    say(f"  {figures['fewer']:.2f} x fewer requests, {figures['valid']:.2%} valid in the packed call")
    quality = asyncio.run(local(rows, say))
    return _claim({**figures, **quality})


def pretend() -> Any:
    """A model that can do what a packed prompt asks; every fiftieth answer in it is spoilt."""
    count = 0

    def answer(body: Any) -> str:
        nonlocal count
        last = body["messages"][-1]["content"]
        if "separate requests as JSON" not in last:
            return f"re: {last}"
        rows = []
        for row in msgspec.json.decode(last.split("\n\n")[-1]):
            count += 1
            kind = count // SPOILT % 3 if count % SPOILT == 0 else -1
            one = {"id": row["id"], "answer": f"re: {row['request']}"}
            rows += {-1: [one], 0: [], 1: [one, one], 2: [{**one, "answer": ""}]}[kind]
        return msgspec.json.encode({"answers": rows}).decode()

    return answer


async def pretended(texts: list[str]) -> dict[str, Any]:
    profiles = {"pool": Profile(stages=("batching",), model=MODEL), "plain": Profile(model=MODEL)}
    settings = Settings(window_ms=50, most=PACK, always=True)
    with tempfile.TemporaryDirectory() as folder:
        async with wall(Path(folder), answer=pretend(), profiles=profiles, batching=settings) as home:
            home.world.provider("openai").options = sim.Options(answer=pretend(), delay=0.05)
            alone, alone_ms, _ = await asked(home, "plain", texts)
            before = home.world.provider("openai").counts.accepted
            together, packed_ms, notes = await asked(home, "pool", texts)
            requests = home.world.provider("openai").counts.accepted - before
    right = [float(said == f"re: {text}") for text, said in zip(texts, together, strict=True)]
    assert all(said == f"re: {text}" for text, said in zip(texts, alone, strict=True))
    return {
        "items": len(texts),
        "requests": requests,
        "fewer": len(texts) / requests,
        "valid": sum("again" not in note for note in notes) / len(texts),
        "valid_in_the_end": interval(right),
        "latency_ms": {
            "alone": statistics.median(alone_ms),
            "packed": statistics.median(packed_ms),
            "window": 50,
        },
    }


async def asked(home: Wall, profile: str, texts: list[str]) -> tuple[list[str], list[float], list[str]]:
    """Answers, milliseconds and notes; six clients at a time."""

    async def one(text: str) -> tuple[str, float, str]:
        began = time.perf_counter()
        body = {"model": profile, "messages": [{"role": "user", "content": text}]}
        answer = await home.client.post("/v1/chat/completions", json=body)
        took = 1e3 * (time.perf_counter() - began)
        said = answer.json()["choices"][0]["message"]["content"]
        return said, took, answer.headers.get("x-potluck-batching", "")

    found = []
    for start in range(0, len(texts), PACK):
        found += await asyncio.gather(*(one(text) for text in texts[start : start + PACK]))
    return [f[0] for f in found], [f[1] for f in found], [f[2] for f in found]


def asked_of_both(rows: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Questions with two choices, and the letter of the right one."""
    chance = random.Random(7)
    labels = sorted({label for _, label in rows})
    picked = [
        (text, *chance.sample([label, chance.choice([o for o in labels if o != label])], 2), label)
        for text, label in chance.sample(rows, 10 * PACK)
    ]
    prompts = [
        f"Message of a bank's customer: {text}\nIs it about (A) {a.replace('_', ' ')} or (B) {b.replace('_', ' ')}? "
        "Answer with A or B."
        for text, a, b, _ in picked
    ]
    wanted = ["A" if a == label else "B" for _, a, _, label in picked]
    return prompts, wanted


async def local(rows: list[tuple[str, str]], say: Say) -> dict[str, Any]:
    """The price in quality on the model that comes with Potluck: share right, asked alone and six at a time."""
    place = Path(os.environ.get("POTLUCK_TEST_DATA", "~/.cache/potluck-tests")).expanduser()
    model = await Models(place).ready()
    prompts, wanted = asked_of_both(rows)
    async with LocalModel(model) as running:

        async def next(request: Request) -> Reply:
            return Reply.of(Event(text=await generated(running, request), finish="stop"))

        alone = [await _text(await next(_request(prompt))) for prompt in prompts]
        stage, together = Batching(Settings(window_ms=20, most=PACK, most_tokens=1000, always=True)), []
        fallen = 0
        for start in range(0, len(prompts), PACK):
            requests = [_request(prompt) for prompt in prompts[start : start + PACK]]
            replies = await asyncio.gather(*(stage(request, next) for request in requests))
            together += [await _text(reply) for reply in replies]
            fallen += sum("again" in request.trace.notes.get("batching", "") for request in requests)
    scores = {
        "local_alone": interval(
            [float(letter(said) == want) for said, want in zip(alone, wanted, strict=True)]
        ),
        "local_packed": interval(
            [float(letter(said) == want) for said, want in zip(together, wanted, strict=True)]
        ),
        "local_valid": 1 - fallen / len(prompts),
        "local_items": len(prompts),
    }
    say(f"  local model: {scores['local_alone'][0]:.0%} right alone, {scores['local_packed'][0]:.0%} packed")
    return scores


def _request(prompt: str) -> Request:
    body = {"messages": msgspec.Raw(msgspec.json.encode([{"role": "user", "content": prompt}]))}
    return Request("pool", body, tokens_in=len(prompt) // 4, tokens_out=8, limited=True, trace=Trace())


async def generated(running: LocalModel, request: Request) -> str:
    """The local model's answer, at temperature 0."""
    import httpx2

    endpoint = running.endpoint
    body = {name: msgspec.json.decode(raw) for name, raw in request.body.items()} | {"temperature": 0}
    body.setdefault("max_tokens", 24)
    async with httpx2.AsyncClient(timeout=120, trust_env=False) as client:
        answer = await client.post(
            f"{endpoint.base_url}/chat/completions",
            json=body | {"model": endpoint.name},
            headers={"authorization": f"Bearer {endpoint.key.reveal()}"},
        )
    return str(answer.json()["choices"][0]["message"]["content"])


async def _text(reply: Reply) -> str:
    return "".join([chunk.text async for chunk in reply])


def letter(said: str) -> str:
    found = re.search(r"\b([AB])\b", said)
    return found.group(1) if found else ""


def _claim(found: dict[str, Any]) -> Claim:
    latency = found["latency_ms"]
    rows = [
        ["requests for each answer", f"{1:.2f}", f"{1 / found['fewer']:.2f}"],
        ["valid in the packed call", "", f"{found['valid']:.2%}"],
        ["right in the end", "100.0% (100.0 to 100.0)", percent(found["valid_in_the_end"])],
        ["median latency of six at once", f"{latency['alone']:.0f} ms", f"{latency['packed']:.0f} ms"],
        ["local model, right", percent(found["local_alone"]), percent(found["local_packed"])],
        ["local model, valid in the packed call", "", f"{found['local_valid']:.0%}"],
    ]
    return Claim(
        name="batching",
        claim="batching cuts requests 3-5×",
        data=f"{found['items']} messages of Banking77 to a pretend provider, {found['local_items']} to the local model",
        bar="5× fewer requests at 6 a batch, at least 99% of items valid",
        found=f"{found['fewer']:.2f}× fewer, {found['valid']:.1%} valid in the packed call and "
        f"{found['valid_in_the_end'][0]:.1%} after asking again alone",
        met=found["fewer"] >= 5 and found["valid_in_the_end"][0] >= 0.99,
        figures=found,
        tables=[("Asked alone, and six in one call:", ("", "alone", "packed"), rows)],
        limits=[
            "The pretend provider spoils one packed answer in fifty; how often a real model does depends on the model.",
            "The local model (135M) is the weakest there is; it shows a price, not that of a larger one.",
            f"Latency: whoever is alone waits the window ({latency['window']} ms) for nothing.",
            "It spares requests. Tokens are a few more: the instruction, and JSON around each answer.",
        ],
    )
