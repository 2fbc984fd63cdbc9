"""One fault against a whole gateway: two providers serve the same model, the first and better one is broken.

`strike` says what its client saw, what the first provider's ledger booked, and how soon it would be tried again, in
the words of the table in `docs/faults.md`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from potluck import sim
from potluck.app.compose import Gateway
from potluck.app.run import bind, serve_on
from potluck.config import Local, Settings, Timeouts
from potluck.quota.room import QuotaState
from potluck.types import Target

MODEL, FIRST, SECOND = "stew", "first/stew-1", "second/stew-2"
ANSWER = "Peel the onions, fry them slowly in butter, add the stock and let it all simmer for an hour."
AFTER = 4  # words that arrive before a fault that strikes in the middle
PATIENCE = 0.25  # seconds
PROVIDER = """
id = "{name}"
name = "{name}"
category = "recurring_free"
base_url = "{url}"
key_env = ["{key}"]
trains_on_data = false

[[quota]]
unit = "requests"
amount = 1000000
window = "day"
scope = "account"
basis = "assumed"
source = "ME"

[[quota]]
unit = "tokens"
amount = 1000000000
window = "day"
scope = "account"
basis = "assumed"
source = "ME"

[[model]]
id = "{model}"
name = "stew"
source = "ME"
quality = {quality}
{window}

[sources.ME]
where = "a test"
seen = 2026-11-24
"""


def answer(body: Any) -> str:
    """What the pretend model says: always the same, and the rest of it when asked to go on."""
    messages = body["messages"]
    said = messages[-2]["content"] if len(messages) > 2 else ""
    return ANSWER[len(said) :] if said and ANSWER.startswith(said) else ANSWER


class Wall:
    """A gateway with `first` and `second`; `world` pretends both of them."""

    def __init__(self, world: sim.World, gateway: Gateway, client: httpx2.AsyncClient) -> None:
        self.world, self.gateway, self.client = world, gateway, client
        self.first: Target = gateway.pool.by_id[FIRST]

    def arm(self, kind: str, **how: Any) -> None:
        self.world.fault("openai", kind, when={"model": "stew-1"}, **how)

    async def ask(self, stream: bool, model: str = MODEL, **fields: Any) -> str:
        """What a client sees, in a few words."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "soup?"}],
            "stream": stream,
            **fields,
        }
        answer = await self.client.post("/v1/chat/completions", json=body)
        if answer.status_code != 200:
            return f"{answer.status_code} {answer.json()['error']['code']}"
        served = answer.headers["x-potluck-target"]
        who = "its answer" if served == FIRST else "the other's answer"
        return who if not stream else f"{who}{_ending(answer.text)}"

    def booked(self) -> str:
        """What the ledger counts at the first provider."""
        used = {state.unit: state.used for state in self.gateway.ledger.snapshot([self.first])}
        if not used["requests"]:
            return "nothing"
        requests = "the request" if used["requests"] == 1 else f"{used['requests']} requests"
        if not used["tokens"]:
            return requests
        return f"{requests}, {self._tokens(used['tokens'])}"

    def _tokens(self, used: int) -> str:
        """Which of what could have been booked it is: the estimate, the provider's count, or what was seen."""
        self.gateway.recorder.flush()
        attempts = self.gateway.views.requests()[0]["attempts"]
        assert attempts, "an attempt is on record"
        said = self.world.provider("openai").counts
        if used == said.tokens_in + said.tokens_out and said.accepted == 1:
            return "its tokens"
        if used > 300:
            return "the estimate"
        return "its few tokens" if used <= 24 else "the prompt and what arrived"

    def attempts(self) -> list[dict[str, Any]]:
        self.gateway.recorder.flush()
        found: list[dict[str, Any]] = self.gateway.views.requests()[0]["attempts"]
        return found

    def snapshot(self, unit: str) -> list[QuotaState]:
        return [one for one in self.gateway.ledger.snapshot(self.gateway.pool.targets) if one.unit == unit]

    async def hang_up(self, after: int) -> float:
        """Leaves after so many events; seconds until the provider's connection was gone."""
        counts = self.world.provider("openai").counts
        body = {"model": FIRST, "messages": [{"role": "user", "content": "soup?"}], "stream": True}
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.aiter_lines()
            for _ in range(2 * after):
                await anext(lines)
            assert not counts.tokens_out  # it is booked when the answer ends, or its reader is gone
        left = time.perf_counter()
        async with asyncio.timeout(5):
            while not counts.tokens_out:
                await asyncio.sleep(0)
        return time.perf_counter() - left

    async def settled(self) -> None:
        """Until nothing is open any more."""
        async with asyncio.timeout(5):
            while self.gateway.meters.open:
                await asyncio.sleep(0)

    def again(self, exact: bool = False) -> str:
        """How soon the first provider would be asked again."""
        gateway = self.gateway
        wait = max(0.0, gateway.health.opens_at(FIRST) - gateway.clock.monotonic())
        opens = gateway.ledger.room(self.first).opens_at
        wait = max(wait, opens - gateway.clock.now() if opens else 0.0)
        return words(wait, exact)


def words(seconds: float, exact: bool = False) -> str:
    """A wait in the words of the table: exact to a tenth, because refusals without a hint are jittered."""
    if seconds <= 0:
        return "at once"
    for name, length in (("a day", 86_400.0), ("an hour", 3600.0), ("a minute", 60.0)):
        if math.isclose(seconds, length, rel_tol=0.1):
            return f"after {name}"
    if math.isclose(seconds, 7.0, abs_tol=0.5) and exact:
        return "after 7 s"
    return "after some seconds" if seconds < 15 else f"after {seconds:.0f} s"


def _ending(text: str) -> str:
    """How a stream ended. A cut one must have an error and no terminator."""
    events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    last = msgspec.json.decode(events[-1]) if events and events[-1] != "[DONE]" else {}
    words = "".join(_words(event) for event in events if event != "[DONE]")
    if "error" in last:
        return f", then an error ({last['error']['code']}) and no end"
    if not events or events[-1] != "[DONE]":
        return ", cut, and nothing says so"
    finishes = [
        choice["finish_reason"]
        for event in events[:-1]
        for choice in msgspec.json.decode(event)["choices"]
        if choice.get("finish_reason")
    ]
    if finishes != ["stop"]:
        return f", finish {' '.join(finishes) or 'missing'}"
    if words != ANSWER:
        return f", not whole: {words!r}"
    return ", the other goes on" if '"continued_by":"second/' in text else ""


def _words(event: str) -> str:
    return "".join(
        choice["delta"].get("content") or "" for choice in msgspec.json.decode(event).get("choices", [])
    )


def _write_providers(folder: Path, first: str, second: str, context: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, url, quality, window in (("first", first, 5, context), ("second", second, 3, 262_144)):
        text = PROVIDER.format(
            name=name,
            url=url,
            key=f"{name.upper()}_KEY",
            model=f"stew-{1 if name == 'first' else 2}",
            quality=quality,
            window=f'context = {window}\nsize_basis = "assumed"' if window else "",
        )
        (folder / f"{name}.toml").write_text(text)


@asynccontextmanager
async def wall(
    home: Path,
    *,
    url: str = "",
    context: int = 32_768,
    interval: float = 0.0,
    answer: Callable[[Any], str] = answer,
    **changes: Any,
) -> AsyncIterator[Wall]:
    """`url` replaces the first provider's address; `context` is its window in tokens (0: unknown)."""
    async with sim.serve({"openai": sim.Options(answer=answer, interval=interval)}) as world:
        there = world.url("openai")
        _write_providers(home / "providers", url or there, there, context)
        listener = bind("127.0.0.1", 0)
        settings = Settings(
            data_dir=str(home),
            providers_dir=str(home / "providers"),
            port=listener.getsockname()[1],
            local=Local(enabled=False, discover=False),
            timeouts=Timeouts(
                connect=PATIENCE,
                answer=PATIENCE,
                first_token=PATIENCE,
                first_token_local=PATIENCE,
                stall=PATIENCE,
            ),
            log_level="error",
            **changes,
        )
        gateway = Gateway(settings, {"FIRST_KEY": "one", "SECOND_KEY": "two"})
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_on(gateway, listener, stop))
        try:
            base = f"http://127.0.0.1:{settings.port}"
            async with httpx2.AsyncClient(base_url=base, timeout=20, trust_env=False) as client:
                yield Wall(world, gateway, client)
        finally:
            stop.set()
            await serving
            listener.close()
