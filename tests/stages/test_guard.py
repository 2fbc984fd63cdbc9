"""Pairs that a cosine takes for one question, and pairs that are one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from potluck.stages.guard import against

HARD = [
    ("How far is 10 miles in km?", "How far is 10 km in miles?", "units"),
    ("10 miles in km", "10 km in miles", "units"),
    ("10km in miles", "10 miles in km", "units"),
    ("convert miles to km", "convert km to miles", "direction"),
    ("Convert 5 USD to EUR", "Convert 5 EUR to USD", "units"),
    ("temperature of 30 celsius in fahrenheit", "temperature of 30 fahrenheit in celsius", "units"),
    ("flights from Paris to London", "flights from London to Paris", "direction"),
    ("Is Anna taller than Bob?", "Is Bob taller than Anna?", "order"),
    ("Does a dog bite a man?", "Does a man bite a dog?", "order"),
    ("Is John the father of Peter?", "Is Peter the father of John?", "order"),
    ("When did World War I end?", "When did World War II end?", "names"),
    ("when did ww1 end", "when did ww2 end", "numbers"),
    ("Who is Henry VIII?", "Who is Henry VII?", "names"),
    ("What is the capital of France?", "What is the capital of Spain?", "names"),
    ("how do i sort a list in python", "how do i sort a list in java", "names"),
    ("translate dog to french", "translate dog to german", "names"),
    ("Translate 'dog' to French", "Translate 'cat' to French", "quotation"),
    ("What is 15% of 200?", "What is 20% of 150?", "numbers"),
    ("three apples", "four apples", "numbers"),
    ("Is coffee good for you?", "Is coffee not good for you?", "negation"),
    ("What happens if I can log in?", "What happens if I can't log in?", "negation"),
    ("a recipe with eggs", "a recipe without eggs", "negation"),
    ("How do I enable 2FA?", "How do I disable 2FA?", "opposite"),
    ("Should I buy Apple stock?", "Should I sell Apple stock?", "opposite"),
    ("the best laptops", "the worst laptops", "opposite"),
    ("Who invented the telephone?", "When was the telephone invented?", "asked"),
]
SAME = [
    ("What is the capital of France?", "What's France's capital?"),
    ("How many km is 10 miles?", "Convert 10 miles to km"),
    ("convert 5 dollars to euros", "how many euros are 5 dollars"),
    ("How do I reset my password?", "I forgot my password, how can I reset it?"),
    ("my card is not working", "my card isn't working"),
    ("What is 1,000 + 5?", "what is 1000 + 5"),
    ("10km in miles", "10 km in miles"),
    ("tell me about ten dogs", "tell me about 10 dogs"),
    ("Explain photosynthesis", "What is photosynthesis?"),
    ("who wrote Hamlet?", "Who was the author of Hamlet?"),
]
questions = st.sampled_from([one for one, *_ in [*HARD, *SAME]]) | st.text(max_size=60)


@pytest.mark.parametrize(("one", "other", "why"), HARD)
def test_what_only_looks_the_same_is_refused(one: str, other: str, why: str) -> None:
    assert against(one, other) == why


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_is_the_same_in_other_words_passes(one: str, other: str) -> None:
    assert against(one, other) == ""


@given(questions)
def test_a_question_never_speaks_against_itself(text: str) -> None:
    assert against(text, text) == ""


@given(questions, questions)
def test_it_does_not_matter_which_came_first(one: str, other: str) -> None:
    assert bool(against(one, other)) == bool(against(other, one))


@given(questions, st.integers(21, 10**6), st.integers(21, 10**6))
def test_another_number_is_another_question(text: str, number: int, other: int) -> None:
    assume(number != other)
    assert against(f"{text} {number} ", f"{text} {other} ")


@given(st.sampled_from([one for one, *_ in SAME]))
def test_a_not_that_is_added_is_another_question(text: str) -> None:
    assume("not" not in text)
    assert against(text, f"{text} not")


@given(st.permutations(["Oslo", "Lima", "Cairo"]))
def test_a_way_back_is_not_the_way_there(cities: list[str]) -> None:
    start, end, via = cities
    assert against(f"trains from {start} to {end}", f"trains from {end} to {start}")
    assert against(f"trains from {start} to {end}", f"trains from {start} to {via}")
