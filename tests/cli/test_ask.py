"""`potluck ask` and `potluck chat`, as processes, against a real gateway and against servers that misbehave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, http, refusal, saying, stream
from tests.house import house

TEXT = '{"choices":[{"delta":{"content":"Hel"}}]}'
MORE = '{"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'


async def test_the_answer_goes_to_stdout_and_who_served_it_to_stderr(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        said = await terminal.run("ask", "hello", POTLUCK_URL=gateway.url)
    assert said.status == 0
    assert said.out.strip()
    assert "groq" not in said.out
    assert "groq/" in said.err
    assert "left" in said.err


async def test_json_holds_answer_target_and_usage_and_nothing_else_is_on_stdout(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        said = (await terminal.run("ask", "--json", "hello", POTLUCK_URL=gateway.url)).json()
    assert said["answer"]
    assert said["target"].startswith("groq/")
    assert said["usage"]["completion_tokens"] > 0
    assert said["finish"] == "stop"


async def test_a_trace_shows_what_was_tried_and_how_long_it_took(terminal: Terminal, tmp_path: Path) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        said = await terminal.run("ask", "--show-trace", "hello", POTLUCK_URL=gateway.url)
    assert "served groq/" in said.err
    assert "first token after" in said.err


async def test_a_question_can_be_piped_in(terminal: Terminal) -> None:
    async with saying(stream(TEXT, MORE, USAGE, "[DONE]")) as url:
        said = await terminal.run("ask", "-", stdin="a long question\n", POTLUCK_URL=url)
    assert (said.status, said.out) == (0, "Hello\n")
    assert "pot/stew · 2 tokens" in said.err


async def test_no_question_is_a_mistake_in_the_command_line(terminal: Terminal) -> None:
    said = await terminal.run("ask", "-", POTLUCK_URL="http://127.0.0.1:1")
    assert said.status == 2
    assert "no question" in said.err


async def test_without_a_gateway_it_says_how_to_start_one(terminal: Terminal) -> None:
    said = await terminal.run("ask", "hello")
    assert said.status == 1
    assert "No gateway answers" in said.err
    assert "potluck serve" in said.err


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refusal_is_shown_in_the_gateways_own_words(terminal: Terminal, status: int) -> None:
    async with saying(refusal(status, "This is [bold]what[/] to do.")) as url:
        said = await terminal.run("ask", "hello", POTLUCK_URL=url)
    assert said.status == 1
    assert "error: This is [bold]what[/] to do." in said.err
    assert said.out == ""


async def test_a_refusal_without_words_names_its_status(terminal: Terminal) -> None:
    async with saying(http(502, b"<html>", type="text/html")) as url:
        said = await terminal.run("ask", "hello", POTLUCK_URL=url)
    assert said.status == 1
    assert "502" in said.err


async def test_a_cut_answer_is_never_passed_off_as_whole(terminal: Terminal) -> None:
    async with saying(stream(TEXT)) as url:
        said = await terminal.run("ask", "hello", POTLUCK_URL=url)
    assert said.status == 1
    assert said.out == "Hel\n"
    assert "broke off" in said.err


async def test_an_error_event_ends_the_answer_with_its_sentence(terminal: Terminal) -> None:
    async with saying(stream(TEXT, '{"error":{"message":"the provider left"}}')) as url:
        said = await terminal.run("ask", "--json", "hello", POTLUCK_URL=url)
    assert (said.status, said.out) == (1, "")
    assert "the provider left" in said.err


async def test_what_is_no_gateway_is_called_that(terminal: Terminal) -> None:
    async with saying(b"220 mail.example ESMTP\r\n") as url:
        said = await terminal.run("ask", "hello", POTLUCK_URL=url)
    assert said.status == 1
    assert "is not a gateway" in said.err


async def test_an_address_that_is_none_is_refused(terminal: Terminal) -> None:
    said = await terminal.run("ask", "hello", POTLUCK_URL="localhost:4711")
    assert said.status == 1
    assert "not the address of a gateway" in said.err


async def test_a_client_key_reaches_the_gateway_and_no_screen(terminal: Terminal, tmp_path: Path) -> None:
    async with house(tmp_path / "data", ["groq"]) as gateway:
        made = (await terminal.run("keys", "create", "me", "--json")).json()["key"]
        gateway.gateway.keyring.refresh()
        with_key = await terminal.run("ask", "hello", POTLUCK_URL=gateway.url, POTLUCK_KEY=made)
        other_name = await terminal.run("ask", "hello", POTLUCK_URL=gateway.url, POTLUCK_API_KEY=made)
        without = await terminal.run("ask", "hello", POTLUCK_URL=gateway.url)
    assert (with_key.status, other_name.status) == (0, 0)
    assert made not in with_key.err + with_key.out
    assert without.status == 1
    assert "No client key was sent" in without.err


async def test_a_chat_remembers_what_was_said_until_it_is_told_to_forget(
    terminal: Terminal, tmp_path: Path
) -> None:
    async with house(tmp_path / "gateway", ["groq"], record_prompts=True) as gateway:
        lines = "first question\nsecond question\n/new\nthird question\n/quit\nnever asked\n"
        said = await terminal.run("chat", stdin=lines, POTLUCK_URL=gateway.url)
        gateway.gateway.recorder.flush()
        prompts = [row["prompt"] for row in reversed(gateway.gateway.views.requests())]
    assert said.status == 0, said.err
    assert ["first question" in prompt for prompt in prompts] == [True, True, False]
    assert '"assistant"' in prompts[1]
    assert len(prompts) == 3


async def test_a_chat_changes_its_model_only_to_one_there_is(terminal: Terminal, tmp_path: Path) -> None:
    async with house(tmp_path / "gateway", ["groq"]) as gateway:
        lines = "/model no-such-model\n/model auto:code\nhello\n/jump\n"
        said = await terminal.run("chat", stdin=lines, POTLUCK_URL=gateway.url)
        gateway.gateway.recorder.flush()
        [row] = gateway.gateway.views.requests()
    assert "no model no-such-model" in said.err
    assert "There is no command /jump" in said.err
    assert row["wish"] == "auto:code"


async def test_a_chat_survives_a_refusal(terminal: Terminal) -> None:
    async with saying(refusal(429, "Wait 7 seconds.")) as url:
        said = await terminal.run("chat", stdin="one\ntwo\n", POTLUCK_URL=url)
    assert said.status == 0
    assert said.err.count("Wait 7 seconds.") == 2
