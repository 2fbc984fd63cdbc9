"""What is kept of a conversation: the task always, calls with their results, and what the question needs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from potluck.stages.context import pieces, split
from potluck.stages.fitting import GAP, bm25, fit, grouped, shortened, size, terms, text_of


def count(text: str) -> int:
    return len(text) // 4 + 1


def say(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "the roof is leaking"}
NOISE = [
    say("user", f"Note {n}: the weather on day {n} was mild and nothing happened at all.") for n in range(30)
]
TALK = [
    say("system", "Be brief."),
    say("user", "Remember what I tell you."),
    say("user", "The password of the cellar is marzipan."),
    *NOISE,
    say("user", "What was the cellar's password?"),
]


def test_what_the_question_needs_is_kept_however_long_ago_it_was_said() -> None:
    found = fit(TALK, 120, count)
    assert found is not None
    kept = [text_of(one) for one in found.messages]
    assert "The password of the cellar is marzipan." in kept
    assert (kept[0], kept[-1]) == ("Be brief.", "What was the cellar's password?")
    assert found.of == len(TALK)
    assert found.left_out > 300


def test_a_call_of_a_tool_and_its_result_stay_or_go_together() -> None:
    talk = [say("user", "Begin."), CALL, RESULT, *NOISE, say("user", "What about the roof?")]
    assert grouped(talk)[1] == [1, 2]
    for budget in range(20, 400, 7):
        found = fit(talk, budget, count)
        if found is not None:
            assert (CALL in found.messages) == (RESULT in found.messages)


def test_a_message_too_long_keeps_the_sentences_that_matter_and_shows_the_gaps() -> None:
    long = say("user", "Cats sleep a lot. The key is under the blue pot. Dogs bark at night. Rain fell.")
    found = shortened(long, terms("Where is the key?"), 30, count)
    assert found is not None
    assert "The key is under the blue pot." in found["content"]
    assert GAP.strip() in found["content"]
    assert "Dogs" not in found["content"]


def test_a_question_at_the_start_or_end_of_a_long_text_is_found() -> None:
    text = "\n\n".join(["A long paragraph about soup. " * 5 + "End."] * 4)
    assert split(f"Who cooked?\n\n{text}") == ("Who cooked?", text)
    assert split(f"{text}\n\nSummarise this:") == ("Summarise this:", text)
    assert split(text) is None


MESSAGES: Any = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "call"]), st.text("ab c.?", max_size=120)),
    min_size=1,
    max_size=15,
)


@given(MESSAGES, st.integers(1, 400))
def test_the_budget_is_kept_the_task_is_kept_and_the_order_too(
    rows: list[tuple[str, str]], budget: int
) -> None:
    talk: list[dict[str, Any]] = []
    for role, text in rows:
        talk += [CALL, RESULT] if role == "call" else [say(role, text)]
    talk.append(say("user", "What now?"))
    found = fit(talk, budget, count)
    if found is None:
        return
    assert sum(size(one, count) for one in found.messages) <= budget
    assert found.messages[-1] == talk[-1]
    assert [one for one in talk if one["role"] == "system"] == [
        one for one in found.messages if one["role"] == "system"
    ]
    assert found.messages.count(CALL) == found.messages.count(RESULT)
    whole = [one for one in found.messages if GAP.strip() not in str(one["content"])]
    places = iter(talk)
    assert all(any(one == other for other in places) for one in whole)  # in their order


@given(st.text("word. \n", max_size=3000), st.integers(50, 300))
def test_parts_are_the_whole_text_and_each_fits(text: str, room: int) -> None:
    parts = pieces(text, room, count)
    assert "".join(parts) == text
    assert all(count(part) <= room for part in parts)


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=5), max_size=5),
    st.lists(st.sampled_from("abc"), max_size=3),
)
def test_relevance_is_never_negative_and_zero_without_a_common_word(
    documents: list[list[str]], query: list[str]
) -> None:
    for document, found in zip(documents, bm25(documents, query), strict=True):
        assert found >= 0
        assert (found > 0) == bool(set(document) & set(query))
