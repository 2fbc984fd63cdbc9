"""A prompt is measured in tokens where a tokenizer is there, and what is learned belongs to its measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.app.tokens import MESSAGE, SAMPLE, Tokenizer, tokenizer
from potluck.errors import ConfigError
from potluck.surfaces import openai
from potluck.types import Request, Trace
from tests.house import house


def asked(messages: list[Any], **fields: Any) -> Request:
    body = {"model": "auto", "messages": messages, **fields}
    return openai.parse_chat(msgspec.json.encode(body), trace=Trace())


def words(text: str) -> int:
    return len(text.split())


def real() -> Tokenizer:
    made = tokenizer("o200k_base")
    assert made is not None
    return made


def test_text_in_every_place_of_a_message_is_counted() -> None:
    said = [
        {"role": "user", "content": [{"type": "text", "text": "one two three"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": "four five"}}]},
    ]
    # Roles, types and names are text that a chat template writes out, too.
    assert (
        Tokenizer("words", words)(asked(said))
        == 3 + 2 + len(["user", "text", "assistant", "look"]) + 3 * MESSAGE
    )


def test_escaped_text_counts_as_what_it_says() -> None:
    content = "Xin chào các bạn, hôm nay thế nào?"
    escaped = (
        b'{"messages":[{"role":"user","content":'
        + content.encode("unicode_escape").join([b'"', b'"'])
        + b"}]}"
    )
    plain = real()(asked([{"role": "user", "content": content}]))
    fields = msgspec.json.decode(escaped.replace(b"\\x", b"\\u00"))
    assert real()(asked(fields["messages"])) == plain
    assert plain < 30


@given(st.text(max_size=200), st.integers(1, 400))
def test_a_long_prompt_counts_in_proportion_to_its_beginning(text: str, times: int) -> None:
    count = Tokenizer("characters", len)(asked([{"role": "user", "content": text * times}]))
    whole = len("user\n" + text * times) + 2 * MESSAGE
    assert abs(count - whole) <= 1


def test_only_the_beginning_of_a_long_prompt_is_looked_at() -> None:
    seen: list[int] = []

    def count(text: str) -> int:
        seen.append(len(text))
        return len(text)

    Tokenizer("c", count)(asked([{"role": "user", "content": "x" * 1_000_000}]))
    assert seen == [SAMPLE]


def test_images_keep_the_measure_they_have() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = asked([{"role": "user", "content": [picture]}])
    assert real()(request) == request.tokens_in


def test_an_encoding_that_is_not_there_refuses_to_start_and_none_measures_in_bytes() -> None:
    with pytest.raises(ConfigError, match="o200k_base is"):
        tokenizer("o9k")
    assert tokenizer("") is None


def test_plain_english_measures_far_less_than_its_bytes_would_say() -> None:
    request = asked([{"role": "user", "content": "hello there " * 200}])
    assert real()(request) < 0.6 * request.tokens_in


async def test_what_was_learned_with_one_measure_is_kept_apart_from_the_other(tmp_path: Path) -> None:
    for number, encoding in enumerate(("o200k_base", "")):
        async with house(tmp_path, ["groq"], tokenizer=encoding) as home:
            assert not home.gateway.estimates.families()
            assert (await home.chat("auto")).status_code == 200
            assert home.gateway.estimates.families()
        assert len(list(tmp_path.glob("token-estimates*.json"))) == number + 1
