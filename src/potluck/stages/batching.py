"""Packs independent small requests of one client into one call, where requests are what is scarce.

Rules: only requests of the same tenant, model and profile with the same system message and settings are packed, and
only plain ones: one short text, no tools, images, promised format or several choices. Nobody waits longer than the
window; who is alone when it ends goes unchanged. Whoever gets no valid answer goes alone. Each client may leave
without the others noticing; when all have left, the call ends. It saves requests, not tokens, so it acts only where
requests are scarcer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.pipeline import Handler
from potluck.stages.packing import FORM, packed, shares, taken_apart
from potluck.techniques import Batching as Settings
from potluck.types import Attempt, Event, Reply, Request, Saving, Trace, Usage

# What a packed request may say; anything else it must say for itself.
PLAIN = frozenset(
    {
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
    }
    | {"user", "metadata", "n"}
)
SAME = ("temperature", "top_p")  # settings that all of a group share
ROOM = 64  # tokens of an answer for which nobody set a limit, beside the JSON around it
AROUND = 12  # tokens of JSON around each answer
_encode = msgspec.json.Encoder().encode


class Item(msgspec.Struct):
    """One request in a group; `answer` is done with its text and usage, or with None: it must go alone."""

    request: Request
    text: str
    answer: asyncio.Future[Event | None]


class Group(msgspec.Struct):
    """What is being gathered, then under way."""

    system: str
    next: Handler
    items: list[Item] = []
    left: int = 0
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None


class Batching:
    """The stage. `scarce` says whether requests run out before tokens for a request."""

    def __init__(self, settings: Settings, scarce: Callable[[Request], bool] = lambda request: True) -> None:
        self._settings, self._scarce = settings, scarce
        self._open: dict[object, Group] = {}

    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        found = self._plain(request)
        if found is None or not (self._settings.always or self._scarce(request)):
            return await next(request)
        system, text = found
        item = Item(request, text, asyncio.get_running_loop().create_future())
        group = self._join(item, system, next)
        try:
            event = await item.answer
        except asyncio.CancelledError:
            group.left += 1
            if group.left == len(group.items) and group.task is not None:
                group.task.cancel()
            raise
        return await next(request) if event is None else Reply.of(event)

    def _plain(self, request: Request) -> tuple[str, str] | None:
        """System message and text of a request that may be packed; None for every other."""
        if request.kind != "chat" or request.needs or request.bodies or not request.body.keys() <= PLAIN:
            return None
        if request.tokens_in > self._settings.most_tokens:
            return None
        messages = request.decoded("messages", [])
        said = [
            (str(one.get("role")), content)
            for one in messages
            if isinstance(one, dict) and isinstance(content := one.get("content"), str) and len(one) == 2
        ]
        if len(said) != len(messages):
            return None
        if [role for role, _ in said] == ["user"]:
            return "", said[0][1]
        if [role for role, _ in said] == ["system", "user"]:
            return said[0][1], said[1][1]
        return None

    def _join(self, item: Item, system: str, next: Handler) -> Group:
        request = item.request
        same = tuple(bytes(request.body.get(name, b"")) for name in SAME)
        key = (request.tenant, request.model, request.allowed, system, same)
        group = self._open.get(key)
        if group is None:
            group = self._open[key] = Group(system, next)
            loop = asyncio.get_running_loop()
            group.timer = loop.call_later(self._settings.window_ms / 1000, self._go, key, group)
        group.items.append(item)
        if len(group.items) >= self._settings.most:
            self._go(key, group)
        return group

    def _go(self, key: object, group: Group) -> None:
        if self._open.get(key) is group:
            del self._open[key]
        if group.timer is not None:
            group.timer.cancel()
        waiting = [item for item in group.items if not item.answer.done()]
        if len(waiting) < 2:
            for item in waiting:
                item.answer.set_result(None)
        else:
            group.task = asyncio.ensure_future(self._run(group, waiting))

    async def _run(self, group: Group, items: list[Item]) -> None:
        try:
            await self._answer(group, items)
        except PotluckError:
            pass  # each goes alone, and meets the error itself if it is one for it, too
        finally:
            for item in items:
                if not item.answer.done():
                    item.answer.set_result(None)

    async def _answer(self, group: Group, items: list[Item]) -> None:
        first = items[0].request
        trace = Trace(id=first.trace.id)
        reply = await group.next(_together(first, group.system, items, trace))
        try:
            events = [event async for chunk in reply for event in chunk.events]
        finally:
            reply.close()
        answers = taken_apart("".join(event.text for event in events), len(items))
        usage = next((event.usage for event in reversed(events) if event.usage), None)
        usage = usage or Usage(sum(item.request.tokens_in for item in items), estimated=True)
        inputs = shares(usage.input, [len(item.text) for item in items])
        outputs = shares(usage.output, [len(answer or "") for answer in answers])
        served = next((a for a in reversed(trace.attempts) if a.outcome == "ok"), None)
        spared = False
        for item, answer, given, made in zip(items, answers, inputs, outputs, strict=True):
            part = Usage(given, made, estimated=True)
            _note(item, answer, part, served, len(items), spared)
            spared = spared or answer is not None
            if answer is not None and not item.answer.done():
                item.answer.set_result(Event(text=answer, finish="stop", usage=part))


def _together(first: Request, system: str, items: list[Item], trace: Trace) -> Request:
    """The one request for all of them. Its money is nobody's alone: only free targets may be asked."""
    out = sum(item.request.tokens_out if item.request.limited else ROOM for item in items) + AROUND * len(
        items
    )
    body: dict[str, Any] = {name: first.body[name] for name in SAME if name in first.body}
    messages = packed(system, [item.text for item in items])
    raw = {"messages": messages, "response_format": FORM, "max_tokens": out, "model": first.model}
    body |= {name: msgspec.Raw(_encode(value)) for name, value in raw.items()}
    return first.replace(
        body=body,
        stream=False,
        tokens_in=sum(item.request.tokens_in for item in items) + 60,
        tokens_out=out,
        needs=frozenset({"json_schema"}),
        trace=trace,
        afford=_nothing,
        on_wait=None,
    )


def _note(
    item: Item, answer: str | None, part: Usage, served: Attempt | None, count: int, spared: bool
) -> None:
    """What the one call was for this request: its share of it, and the request it spared."""
    trace = item.request.trace
    if served is not None:
        trace.attempts.append(msgspec.structs.replace(served, usage=part))
    if answer is None:
        trace.notes["batching"] = f"{count} in one call, and no valid answer in it: asked again alone"
        return
    trace.notes["batching"] = f"{count} in one call"
    if spared and served is not None:  # the first of them is the call itself
        trace.savings.append(Saving("batching", requests=1, target=served.target))


async def _nothing(cost: int) -> float:
    return float("inf")
