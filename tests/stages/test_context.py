"""The context stage: what fits is left alone, what does not is made to, and it says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from potluck import sim
from potluck.config import Profile
from potluck.stages.context import Context
from potluck.techniques import Context as Settings
from potluck.types import Event, Reply, Request
from tests.house import house
from tests.stages.test_fitting import NOISE, TALK, count, say


def asking(messages: list[Any], **changes: Any) -> Request:
    body = {"messages": msgspec.Raw(msgspec.json.encode(messages)), **changes.pop("fields", {})}
    tokens = sum(count(str(one["content"])) + 4 for one in messages)
    return Request("long", body, tokens_in=tokens, tokens_out=50, **changes)


class Recorded:
    """Writes down what it is asked, and answers with a number."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []

    async def __call__(self, request: Request) -> Reply:
        self.asked.append(request.decoded("messages"))
        return Reply.of(Event(text=f"answer {len(self.asked)}", finish="stop"))


def stage(window: int, budget: int = 0) -> Context:
    return Context(Settings(budget=budget), lambda request: window, count)


async def text(reply: Reply) -> str:
    return "".join([chunk.text async for chunk in reply])


async def test_what_fits_is_passed_on_untouched() -> None:
    request = asking(TALK)

    async def next(asked: Request) -> Reply:
        assert asked is request
        return Reply.of(Event(text="hi"))

    assert await text(await stage(100_000)(request, next)) == "hi"
    assert await text(await stage(0)(request, next)) == "hi"  # no window is known: nothing is cut
    assert not request.trace.notes


async def test_what_does_not_fit_is_made_to_and_the_trace_says_what_was_left_out() -> None:
    request, next = asking(TALK), Recorded()
    await stage(400)(request, next)
    [sent] = next.asked
    assert any("marzipan" in one["content"] for one in sent)
    assert len(sent) < len(TALK)
    assert request.trace.notes["context"].startswith(f"kept {len(sent)} of {len(TALK)} messages")
    assert request.trace.savings[0].tokens_in > 100


async def test_a_budget_of_the_users_own_holds_where_the_window_is_wide() -> None:
    request, next = asking(TALK), Recorded()
    await stage(100_000, budget=200)(request, next)
    assert sum(count(one["content"]) + 4 for one in next.asked[0]) <= 200


async def test_a_text_longer_than_the_window_is_read_in_parts_and_put_together() -> None:
    book = "\n\n".join(f"Chapter {n}. " + "Somebody cooked something. " * 20 for n in range(6))
    request, next = asking([say("user", f"Who cooked?\n\n{book}")]), Recorded()
    answered = await text(await stage(700)(request, next))
    assert 2 < len(next.asked) <= request.budget
    assert answered == f"answer {len(next.asked)}"
    assert all("Who cooked?" in one[0]["content"] for one in next.asked)
    assert "answer 1" in next.asked[-1][0]["content"]
    assert "parts" in request.trace.notes["context"]


async def test_a_task_that_cannot_fit_goes_on_whole_and_is_never_cut_behind_ones_back() -> None:
    request, next = asking([say("user", "word " * 4000)]), Recorded()
    await stage(300)(request, next)
    assert next.asked == [request.decoded("messages")]
    assert "context" not in request.trace.notes


async def test_in_a_whole_gateway_a_profile_fits_long_conversations(tmp_path: Path) -> None:
    profiles = {"long": Profile(stages=("context",))}
    wanted = {"groq": sim.Options(unlimited=True)}
    talk = [say("user", "Remember: the code is 4711."), *NOISE * 4, say("user", "What is the code?")]
    async with house(tmp_path, wanted, profiles=profiles, context=Settings(budget=300)) as home:
        answer = await home.chat("long", messages=talk)
        sent = home.world.provider("groq").bodies[-1]["messages"]
    assert answer.headers["x-potluck-context"].startswith(f"kept {len(sent)} of {len(talk)}")
    assert sent[0] == talk[0]
    assert len(sent) < len(talk)
