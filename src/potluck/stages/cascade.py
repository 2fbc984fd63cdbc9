"""Small models first; the strong one only where it is likely to add something.

    ask `small[0]` and `small[1]` at the same time      they agree, or how they say it makes it likely: answered
    ask `small[2]`                                      two of the three agree: answered
    ask `strong`

Rules: what is answered is one model's own answer, never a mixture. A request that nobody can judge by its words
(tools, images) goes to the strong model at once, and so does one for several choices. Free text without a number, a
choice or JSON in it has no gist to compare and usually escalates: that is the price of not guessing. Every call
counts against the request's budget, and only the strong answer streams as it is written: a small one must be whole
before it is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from potluck.errors import PotluckError
from potluck.pipeline import Handler
from potluck.stages.calibration import Weights, bar, gain, moved
from potluck.stages.judge import ballot, gist, signs
from potluck.techniques import Cascade as Settings
from potluck.types import Event, Reply, Request, Saving, Usage

REMEMBERED = 10_000  # decisions that feedback can still be given on
UNJUDGED = frozenset({"tools", "image", "pdf"})


class Answer(msgspec.Struct, frozen=True):
    """A small model's whole answer."""

    events: tuple[Event, ...]
    text: str
    usage: Usage
    target: str


class Cascade:
    """The stage. `room` says what share of the strong model's tightest quota is free (0..1), `checked` hears whether a
    small answer that was asked again of the strong model agreed.
    """

    def __init__(
        self,
        settings: Settings,
        weights: Weights,
        room: Callable[[str], float] = lambda model: 1.0,
        checked: Callable[[str, bool], object] = lambda technique, agreed: None,
        random: Random | None = None,
    ) -> None:
        self._settings, self._weights, self._room, self._checked = settings, weights, room, checked
        self._random = random or Random()
        self.offset = 0.0  # what feedback has moved, in log-odds
        self._decided: dict[str, tuple[str, int, tuple[float, ...]]] = {}  # id -> tenant, asked, signs
        self._beside: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request, next: Handler, /) -> Reply:
        settings = self._settings
        if request.kind != "chat" or request.bodies or UNJUDGED & request.needs:
            return await self._escalate(request, next, "not to be judged by its words")
        question = _question(request)
        models = settings.small[:3]
        answers = await _asked(request, next, models[:2])
        reply = self._judged(request, next, question, answers)
        if reply is None and len(models) > 2 and len(answers) == 2:
            answers = [*answers, *await _asked(request, next, models[2:])]
            reply = self._judged(request, next, question, answers)
        return reply or await self._escalate(request, next, _why(answers), answers)

    def _judged(
        self, request: Request, next: Handler, question: str, answers: Sequence[Answer]
    ) -> Reply | None:
        """The candidate's answer if it is good enough."""
        if not answers:
            return None
        found = ballot([gist(answer.text, question) for answer in answers])
        seen = signs(found, question, answers[0].text)
        scale = self._weights.scale(len(answers))
        most = bar(self._weights, self._settings.quality, self._room(self._settings.strong))
        if found.who < 0 or gain(scale, seen, self.offset) > most:
            return None
        self._remember(request, len(answers), seen)
        answer = answers[found.who]
        trace = request.trace
        trace.notes["cascade"] = f"small ({answer.target}), {len(found.backers)} of {len(answers)} agree"
        trace.savings.append(self._saving(answer, answers))
        if self._random.random() < self._settings.shadow:
            self._check(request, next, question, answer)
        return Reply.of(*answer.events)

    def _saving(self, answer: Answer, answers: Sequence[Answer]) -> Saving:
        """One strong call not made, less the small calls beyond the one that any gateway would have made."""
        return Saving(
            "cascade",
            requests=1 - len(answers),
            tokens_in=answer.usage.input,
            tokens_out=answer.usage.output,
            target=self._settings.strong,
        )

    async def _escalate(
        self, request: Request, next: Handler, why: str, answers: Sequence[Answer] = ()
    ) -> Reply:
        request.trace.notes["cascade"] = f"strong: {why}"
        if answers:
            request.trace.savings.append(
                Saving("cascade", requests=-len(answers), target=self._settings.strong)
            )
        return await next(_for(request, self._settings.strong, request.stream))

    def _remember(self, request: Request, asked: int, seen: tuple[float, ...]) -> None:
        if len(self._decided) >= REMEMBERED:
            del self._decided[min(self._decided)]  # ids count up: the oldest
        self._decided[request.trace.id] = (request.tenant, asked, seen)

    def feedback(self, id: str, tenant: str, good: bool) -> bool:
        """Whether a small answer was right, as its client says. False: nothing was decided under this id for it."""
        found = self._decided.get(id)
        if found is None or found[0] != tenant:
            return False
        del self._decided[id]
        _, asked, seen = found
        self.offset = moved(self.offset, seen, self._weights.scale(asked), good)
        return True

    def _check(self, request: Request, next: Handler, question: str, answer: Answer) -> None:
        """Asks the strong model beside the request, and compares."""

        async def check() -> None:
            id = request.trace.id
            alone = request.replace(
                trace=msgspec.structs.replace(request.trace, attempts=[], notes={}, savings=[]),
                priority="low",
                afford=_nothing,
            )
            found = await _asked(alone, next, (self._settings.strong,))
            if not found:
                return
            agreed = gist(found[0].text, question) == gist(answer.text, question)
            self._checked("cascade", agreed)
            self.feedback(id, request.tenant, agreed)

        task = asyncio.ensure_future(check())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def close(self) -> None:
        for task in self._beside:
            task.cancel()


async def _nothing(cost: int) -> float:
    """A check never spends a client's money."""
    return float("inf")


async def _asked(request: Request, next: Handler, models: Sequence[str]) -> list[Answer]:
    """The whole answers of those that could answer, in their order. Raises what is the client's own fault."""
    found = await asyncio.gather(*(_ask(request, next, model) for model in models), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, PotluckError):
            raise one
    return [one for one in found if isinstance(one, Answer)]


async def _ask(request: Request, next: Handler, model: str) -> Answer:
    before = len(request.trace.attempts)
    reply = await next(_for(request, model, stream=False))
    try:
        events = tuple([event async for chunk in reply for event in chunk.events])
    finally:
        reply.close()
    usage = Usage(request.tokens_in, estimated=True)
    for event in events:
        usage = event.usage or usage
    served = [attempt.target for attempt in request.trace.attempts[before:] if attempt.outcome == "ok"]
    return Answer(events, "".join(event.text for event in events), usage, served[-1] if served else model)


def _for(request: Request, model: str, stream: bool) -> Request:
    body: dict[str, Any] = {**request.body, "model": msgspec.Raw(msgspec.json.encode(model))}
    if not stream:
        for name in ("stream", "stream_options"):
            body.pop(name, None)
    return request.replace(model=model, body=body, stream=stream)


def _question(request: Request) -> str:
    """The text of the client's last message."""
    for message in reversed(request.decoded("messages", [])):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, list):
                return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def _why(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} small answers did not convince" if answers else "no small model answered"
