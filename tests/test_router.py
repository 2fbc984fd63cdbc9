"""Which targets, in which order: a pure function, so every sentence about it is a test."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import ConfigError, Forbidden, UnknownModel, Unsupported
from potluck.router import Outlook, Pool, Profile, Wish, plan, score
from potluck.types import Request, Target


def target(id: str, **facts: Any) -> Target:
    provider, model = id.split("/", 1)
    facts = {"name": model.lower(), **facts}
    return Target(id, provider, model, base_url="https://x.example", **facts)


def request(model: str = "auto", **facts: Any) -> Request:
    return Request(model, {"messages": msgspec.Raw(b"[]")}, **facts)


def order(request: Request, pool: Pool, **outlooks: Outlook) -> list[str]:
    def outlook(target: Target) -> Outlook:
        return outlooks.get(target.provider, Outlook())

    return [target.id for target in plan(request, pool, outlook).targets]


SMALL = target("a/small", quality=1)
BIG = target("b/big", quality=4, specialities=frozenset({"code"}))
CODER = target("c/coder", quality=4, specialities=frozenset({"code"}))
HOME = target("home/tiny", quality=1, local=True)


def test_auto_tries_the_best_first_and_the_local_model_last() -> None:
    assert order(request(), Pool([HOME, SMALL, BIG])) == ["b/big", "a/small", "home/tiny"]


def test_plentiful_quota_is_spent_before_scarce() -> None:
    ranked = order(request(), Pool([BIG, CODER]), b=Outlook(share=0.05), c=Outlook(share=0.9))
    assert ranked == ["c/coder", "b/big"]


def test_a_scarce_better_model_is_kept_behind_a_plentiful_slightly_worse_one() -> None:
    worse = target("d/worse", quality=3)
    assert order(request(), Pool([BIG, worse]), b=Outlook(risk=1.0))[0] == "d/worse"


def test_a_dear_target_is_still_used_before_nobody_is() -> None:
    assert order(request(), Pool([BIG]), b=Outlook(risk=4.0)) == ["b/big"]


def test_what_has_no_room_comes_after_all_that_has_some() -> None:
    assert order(request(), Pool([BIG, SMALL]), b=Outlook(full=True)) == ["a/small", "b/big"]


def test_money_never_saves_a_free_request_of_the_same_quality() -> None:
    paid = target("p/paid", quality=4, paid=True)
    assert order(request(), Pool([paid, BIG]), b=Outlook(risk=1.0)) == ["b/big", "p/paid"]


def test_a_speciality_puts_its_targets_first() -> None:
    math = target("m/math", quality=4, specialities=frozenset({"math"}))
    assert order(request("auto:math"), Pool([BIG, math]))[0] == "m/math"


def test_private_never_leaves_this_machine() -> None:
    assert order(request("auto:private"), Pool([BIG, HOME])) == ["home/tiny"]
    with pytest.raises(Unsupported, match="leave this machine"):
        order(request("auto:private"), Pool([BIG]))


def test_fast_prefers_the_target_that_answered_fastest() -> None:
    ranked = order(request("auto:fast"), Pool([BIG, CODER]), b=Outlook(first_s=8.0), c=Outlook(first_s=0.1))
    assert ranked == ["c/coder", "b/big"]


def test_a_canonical_name_pools_every_provider_that_serves_it() -> None:
    pool = Pool(
        [target("a/Llama-70B", name="llama-3.3-70b"), target("b/llama3.3", name="llama-3.3-70b"), BIG]
    )
    assert set(order(request("llama-3.3-70b"), pool)) == {"a/Llama-70B", "b/llama3.3"}


def test_provider_slash_model_is_that_target_alone() -> None:
    assert order(request("b/big"), Pool([SMALL, BIG])) == ["b/big"]
    assert order(request("B/BIG"), Pool([SMALL, BIG])) == ["b/big"]


def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownModel, match="b/big"):
        order(request("b/bgi"), Pool([SMALL, BIG]))


@given(st.text(max_size=60))
def test_any_model_name_is_known_or_refused_clearly(name: str) -> None:
    pool = Pool([SMALL, BIG])
    if name.lower() in {known.lower() for known in pool.names()}:
        return
    with pytest.raises(UnknownModel) as refused:
        order(request(name), pool)
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    ("need", "able"),
    [("image", {"inputs": frozenset({"text", "image"})}), ("tools", {"tools": True})],
)
def test_a_target_that_cannot_do_what_is_needed_is_not_asked(need: str, able: dict[str, Any]) -> None:
    pool = Pool([target("a/cannot", tools=False), target("b/can", **{"tools": False, **able})])
    assert order(request(needs=frozenset({need})), pool) == ["b/can"]


def test_a_prompt_goes_only_where_it_fits() -> None:
    pool = Pool([target("a/narrow", context=100, quality=5), target("b/wide", context=10_000, quality=1)])
    assert order(request(tokens_in=500), pool) == ["b/wide"]
    with pytest.raises(Unsupported, match="too small"):
        order(request(tokens_in=50_000), pool)


def test_embeddings_go_to_embedding_targets_only() -> None:
    vectors = target("e/vectors", kind="embeddings")
    assert order(request(kind="embeddings"), Pool([BIG, vectors])) == ["e/vectors"]
    with pytest.raises(Unsupported, match="embeddings"):
        order(request(kind="embeddings"), Pool([BIG]))


def test_a_paid_target_is_overflow() -> None:
    paid = target("p/paid", quality=4, paid=True)
    assert order(request(), Pool([paid, BIG])) == ["b/big", "p/paid"]


def test_a_flaky_target_comes_after_a_steady_one() -> None:
    assert order(request(), Pool([BIG, CODER]), b=Outlook(flakiness=0.9))[0] == "c/coder"


def test_a_profile_carries_a_wish_under_its_own_name() -> None:
    pool = Pool([SMALL, BIG], {"careful": Profile(Wish(min_quality=3))})
    assert order(request("careful"), pool) == ["b/big"]
    assert "careful" in pool.names()


def test_a_wish_without_training_takes_only_those_that_promise() -> None:
    safe = target("s/safe", trains_on_data=False)
    unknown = target("u/unknown", trains_on_data=None)
    pool = Pool([safe, unknown, HOME], {"discreet": Profile(Wish(no_training=True))})
    assert set(order(request("discreet"), pool)) == {"s/safe", "home/tiny"}


def test_a_profile_may_not_shadow_a_model() -> None:
    with pytest.raises(ConfigError, match="auto"):
        Pool([BIG], {"auto": Profile()})


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_room_never_makes_a_target_less_attractive(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert score(BIG, Wish(), Outlook(share=low)) <= score(BIG, Wish(), Outlook(share=high))


def test_the_list_of_models_has_wishes_names_and_targets() -> None:
    names = Pool([BIG, SMALL]).names()
    assert {"auto", "auto:code", "auto:private", "big", "b/big"} <= set(names)
    assert len(names) == len(set(names))


def test_money_is_spent_after_every_free_target_that_has_room_and_before_those_that_have_none() -> None:
    paid = target("p/paid", quality=5, paid=True)
    assert order(request(), Pool([paid, SMALL, BIG])) == ["b/big", "a/small", "p/paid"]
    full = order(request(), Pool([paid, SMALL, BIG]), a=Outlook(full=True), b=Outlook(full=True))
    assert full[0] == "p/paid"


def test_a_tiny_model_at_home_comes_after_what_a_budget_was_set_for_unless_speed_is_wished() -> None:
    paid = target("p/paid", quality=3, paid=True)
    assert order(request(), Pool([paid, HOME, BIG])) == ["b/big", "p/paid", "home/tiny"]
    assert order(request(), Pool([HOME, BIG])) == ["b/big", "home/tiny"]
    assert order(request("auto:fast"), Pool([paid, HOME]))[0] == "home/tiny"
    broke = order(request(), Pool([paid, HOME, BIG]), p=Outlook(full=True))
    assert broke == ["b/big", "home/tiny", "p/paid"]


@pytest.mark.parametrize(
    ("allowed", "reached"),
    [
        ((), ["b/big", "a/small"]),
        (("auto*",), ["b/big", "a/small"]),
        (("*",), ["b/big", "a/small"]),
        (("auto", "a/small"), ["a/small"]),
        (("auto", "b/*"), ["b/big"]),
        (("a/small",), ["a/small"]),
    ],
)
def test_a_client_keys_list_binds_where_it_is_sent_too(allowed: tuple[str, ...], reached: list[str]) -> None:
    assert order(request(allowed=allowed), Pool([SMALL, BIG])) == reached


def test_a_list_that_leaves_no_target_is_refused_with_the_list() -> None:
    for allowed in (("auto", "c/gone"), ("auto", "gpt-9")):
        with pytest.raises(Forbidden, match=r"may only use auto, .*'auto'"):
            order(request(allowed=allowed), Pool([SMALL, BIG]))


def test_a_profile_that_a_key_may_ask_for_decides_where_it_goes() -> None:
    pool = Pool([SMALL, BIG], {"home": Profile(Wish(exact="a/small"))})
    assert order(request("home", allowed=("home",)), pool) == ["a/small"]
    with pytest.raises(Forbidden):
        order(request("auto", allowed=("auto", "home-*")), pool)  # names nothing: never everything


def test_a_request_for_a_json_schema_goes_only_where_one_is_taken() -> None:
    loose = target("z/loose", quality=5, json_schema=False)
    wanted = request(needs=frozenset({"json_schema"}))
    assert order(wanted, Pool([loose, BIG])) == ["b/big"]
    assert order(request(), Pool([loose, BIG])) == ["z/loose", "b/big"]
    with pytest.raises(Unsupported, match="JSON schema"):
        order(wanted, Pool([loose]))
