"""Makes a long conversation fit the window of the models that will be asked, and says what it left out.

Rules: a request that fits is passed on as it is, at the price of one comparison. What is left out is in the trace
and in `X-Potluck-Context`. A last message that alone is longer than the window is worked off in parts, if it is long
text with a question at its start or end (map and reduce): each part is asked the question, and the answers are put
together; every call counts against the request's budget. Anything else that cannot fit goes on as it is, and gets
the clear error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.pipeline import Handler
from potluck.stages.fitting import Count, Fitted, Message, fit, text_of
from potluck.techniques import Context as Settings
from potluck.types import Reply, Request, Saving

MARGIN = 0.9  # of the window: other families count the same text differently
ASKING = 400  # characters at the start or end of a long message that may hold the question
PART = (
    "Below is part {n} of {of} of a longer text. Answer from this part alone, briefly, or say NOTHING if it has none "
    "for it.\n\n{question}\n\n---\n{part}"
)
TOGETHER = (
    "These are answers to one question, each from another part of a text. Put them together into one answer.\n\n"
    "{question}\n\n---\n{answers}"
)
_encode = msgspec.json.Encoder().encode


class Context:
    """The stage. `window` gives the tokens that the models behind a request can take, 0 = unknown; `count` counts."""

    def __init__(self, settings: Settings, window: Callable[[Request], int], count: Count) -> None:
        self._settings, self._window, self._count = settings, window, count

    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        budget = self._budget(request)
        if request.kind != "chat" or request.bodies or not budget or request.tokens_in <= budget:
            return await next(request)
        messages = request.decoded("messages", [])
        if not all(isinstance(one, dict) for one in messages):
            return await next(request)
        found = fit(messages, budget - self._others(request), self._count)
        if found is None:
            return await self._in_parts(request, messages, budget, next) or await next(request)
        return await next(self._with(request, found))

    def _budget(self, request: Request) -> int:
        """Tokens the prompt may have: the settings' own limit, and the window less the answer."""
        window = self._window(request) if request.kind == "chat" else 0
        room = int(window * MARGIN) - min(request.tokens_out, window // 4) if window else 0
        limits = [limit for limit in (self._settings.budget, room) if limit > 0]
        return min(limits, default=0)

    def _others(self, request: Request) -> int:
        """Tokens of what is no message: tools and promised schemas."""
        return sum(
            self._count(bytes(request.body[name]).decode("utf-8", "replace"))
            for name in ("tools", "functions", "response_format")
            if name in request.body
        )

    def _with(self, request: Request, found: Fitted) -> Request:
        note = f"kept {found.kept} of {found.of} messages, {found.shortened} of them shortened"
        request.trace.notes["context"] = f"{note}; left out about {found.left_out} tokens"
        request.trace.savings.append(Saving("context", tokens_in=found.left_out))
        body = {**request.body, "messages": msgspec.Raw(_encode(found.messages))}
        return request.replace(body=body, tokens_in=max(1, request.tokens_in - found.left_out))

    async def _in_parts(
        self, request: Request, messages: list[Message], budget: int, next: Handler
    ) -> Reply | None:
        """The answer to a question about a text that fits no window, or None if it cannot be had in parts."""
        asked = split(text_of(messages[-1]))
        if asked is None or request.needs or "response_format" in request.body:
            return None
        question, text = asked
        parts = pieces(text, budget - self._count(question) - 100, self._count)
        if not 1 < len(parts) < request.budget:
            return None
        prompts = [
            PART.format(n=n + 1, of=len(parts), question=question, part=part) for n, part in enumerate(parts)
        ]
        try:
            answers = await asyncio.gather(*(self._ask(request, prompt, next) for prompt in prompts))
        except PotluckError:
            return None
        told = "\n\n".join(one for one in answers if one.strip() and "NOTHING" not in one[:20])
        request.trace.notes["context"] = (
            f"read in {len(parts)} parts, {sum(map(bool, answers))} answers put together"
        )
        last = TOGETHER.format(question=question, answers=told or "(no part had an answer)")
        return await next(self._prompt(request, last, request.stream))

    async def _ask(self, request: Request, prompt: str, next: Handler) -> str:
        reply = await next(self._prompt(request, prompt, stream=False))
        try:
            return "".join([event.text async for chunk in reply for event in chunk.events])
        finally:
            reply.close()

    def _prompt(self, request: Request, prompt: str, stream: bool) -> Request:
        body: dict[str, Any] = {
            **request.body,
            "messages": msgspec.Raw(_encode([{"role": "user", "content": prompt}])),
        }
        if not stream:
            for name in ("stream", "stream_options"):
                body.pop(name, None)
        return request.replace(body=body, stream=stream, tokens_in=self._count(prompt) + 8)


def split(text: str) -> tuple[str, str] | None:
    """The question of a long message, and the text it is about: its first or last paragraph, if short; else None."""
    paragraphs = text.strip().split("\n\n")
    for question, rest in ((paragraphs[0], paragraphs[1:]), (paragraphs[-1], paragraphs[:-1])):
        if rest and len(question) <= ASKING and ("?" in question or question.rstrip().endswith(":")):
            return question, "\n\n".join(rest)
    return None


def pieces(text: str, room: int, count: Count) -> list[str]:
    """The text in parts of at most `room` tokens, cut at paragraphs, else at lines, else anywhere."""
    if room < 50:
        return []
    if count(text) <= room:
        return [text]
    for mark in ("\n\n", "\n", ". ", " "):
        middle = text.find(mark, len(text) // 2)
        if 0 < middle < len(text) - len(mark):
            return pieces(text[: middle + len(mark)], room, count) + pieces(
                text[middle + len(mark) :], room, count
            )
    half = len(text) // 2
    return pieces(text[:half], room, count) + pieces(text[half:], room, count)
