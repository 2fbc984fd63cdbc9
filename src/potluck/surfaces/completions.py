"""OpenAI's legacy Completions as a surface: a prompt in, a text out, over models that chat.

Source: OpenAI API reference, Completions (2026-11). The prompt becomes one message of the user's, since hardly any
provider still continues raw text. Rules: what a chat cannot do (`suffix`, `logprobs`, `best_of`, prompts as tokens) is
refused and never silently left out. A model's reasoning is no part of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from potluck.errors import Invalid, PotluckError
from potluck.surfaces import openai
from potluck.surfaces.anthropic_stream import BYTES_PER_TOKEN
from potluck.surfaces.surface import About, Asked
from potluck.types import Chunk, Event, Request, Trace, Usage

DIALECT = "completions"
ECHO = "echo"  # in `Request.native`: the prompt, for a client that wants it before its answer


class _Options(msgspec.Struct):
    include_usage: bool | None = False


class _Asking(msgspec.Struct):
    prompt: str | list[str | int | list[int]] | None = None
    model: str = "auto"
    stream: bool | None = False
    stream_options: _Options | None = None
    max_tokens: int | None = None
    n: int | None = 1
    best_of: int | None = 1
    logprobs: int | bool | None = None
    echo: bool | None = False
    suffix: str | None = None


_encode = msgspec.json.Encoder().encode
_OPEN = b',"logprobs":null,"finish_reason":null}]}\n\n'
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asking = msgspec.json.Decoder(_Asking)
OWN = frozenset(
    {"prompt", "suffix", "echo", "best_of", "logprobs", "n"}
)  # unknown to Chat Completions, or other there


class Completions:
    """`POST /v1/completions`."""

    name = "completions"
    dialect: str | None = None
    stream_type = b"text/event-stream; charset=utf-8"

    def parse(self, asked: Asked, trace: Trace) -> Request:
        fields: dict[str, msgspec.Raw] = openai.decode(_fields, asked.body)
        asking: _Asking = openai.decode(_asking, asked.body)
        prompts = _prompts(asking)
        _refuse(asking, len(prompts))
        limit = asking.max_tokens
        if limit is not None and limit < 1:
            raise Invalid(f"'max_tokens' is {limit}: it must be at least 1.", param="max_tokens")
        body = {name: value for name, value in fields.items() if name not in OWN}
        bodies = [_asks(body, prompt) for prompt in prompts for _ in range(asking.n or 1)]
        longest = max(len(each["messages"]) for each in bodies)
        return Request(
            model=asking.model or "auto",
            body=bodies[0],
            bodies=tuple(bodies) if len(bodies) > 1 else (),
            stream=bool(asking.stream),
            tokens_in=openai.prompt_tokens(longest, 0),
            tokens_out=limit or openai.DEFAULT_OUTPUT,
            limited=limit is not None,
            native={ECHO: msgspec.Raw(_encode(prompts[0]))} if asking.echo else None,
            native_dialect=DIALECT if asking.echo else "",
            trace=trace,
        )

    def whole(self, events: Sequence[Event], about: About) -> bytes:
        usage: Usage | None = None
        texts: dict[int, list[str]] = {0: [_echo(about)]}
        finishes: dict[int, str] = {}
        for event in events:
            texts.setdefault(event.choice, []).append(event.text)
            finishes[event.choice] = _reason(event.finish) or finishes.get(event.choice, "stop")
            usage = event.usage or usage
        choices = [
            {"text": "".join(said), "index": n, "logprobs": None, "finish_reason": finishes.get(n, "stop")}
            for n, said in sorted(texts.items())
        ]
        seen = sum(len(part) for said in texts.values() for part in said)
        return _encode({**_head(about), "choices": choices, "usage": _usage(about, usage, seen)})

    def writer(self, about: About) -> CompletionWriter:
        return CompletionWriter(about)

    def error(self, error: PotluckError) -> bytes:
        return openai.render_error(error)


class CompletionWriter:
    """Writes one stream: a chunk for each piece of text, one with the reason it ended, then the usage if asked."""

    __slots__ = ("_about", "_echoed", "_finishes", "_prefix", "_seen", "_usage")

    def __init__(self, about: About) -> None:
        self._about = about
        self._prefix = b"data: " + _encode(_head(about))[:-1] + b',"choices":[{"text":'
        self._finishes: dict[int, str] = dict.fromkeys(range(len(about.request.bodies) or 1), "stop")
        self._usage, self._seen = None, 0
        self._echoed = False

    _usage: Usage | None

    def take(self, chunk: Chunk) -> bytes:
        out = [] if self._echoed else [self._start()]
        for event in chunk.events:
            if event.text:
                said = _encode(event.text)
                self._seen += len(said) - 2
                out.append(self._prefix + said + b',"index":%d%b' % (event.choice, _OPEN))
            if reason := _reason(event.finish):
                self._finishes[event.choice] = reason
            self._usage = event.usage or self._usage
        return b"".join(out)

    def ending(self) -> bytes:
        out = b"" if self._echoed else self._start()
        for number, finish in self._finishes.items():
            said = b'"","index":%d,"logprobs":null,"finish_reason":%b}]}\n\n' % (number, _encode(finish))
            out += self._prefix + said
        raw = self._about.request.body.get("stream_options")
        if raw is not None and b"include_usage" in bytes(raw):
            options = msgspec.json.decode(raw, type=_Options | None)
            if options is not None and options.include_usage:
                used = _usage(self._about, self._usage, self._seen)
                out += b"data: " + _encode({**_head(self._about), "choices": [], "usage": used}) + b"\n\n"
        return out + openai.DONE

    def broke(self, error: PotluckError) -> bytes:
        return openai.render_error_event(error)

    def _start(self) -> bytes:
        self._echoed = True
        said = _echo(self._about)
        return self._prefix + _encode(said) + b',"index":0' + _OPEN if said else b""


def _prompts(asking: _Asking) -> list[str]:
    """The texts. Raises Invalid."""
    prompt = asking.prompt
    prompts = prompt if isinstance(prompt, list) else [prompt or ""]
    texts = [one for one in prompts if isinstance(one, str)]
    if len(texts) < len(prompts):
        raise Invalid(
            "'prompt' holds tokens: each provider behind this gateway has a tokenizer of its own. Send text.",
            param="prompt",
        )
    if not texts or not all(texts):
        raise Invalid("'prompt' is missing or empty: send a text.", param="prompt")
    return texts


def _asks(body: dict[str, msgspec.Raw], prompt: str) -> dict[str, msgspec.Raw]:
    return {**body, "messages": msgspec.Raw(_encode([{"role": "user", "content": prompt}]))}


def _refuse(asking: _Asking, prompts: int) -> None:
    """Raises Invalid for what a chat cannot do."""
    if asking.suffix:
        raise Invalid(
            "'suffix' (filling in the middle) is not served: models that chat cannot do it. Put what follows into "
            "the prompt and ask for what is missing.",
            param="suffix",
        )
    n = 1 if asking.n is None else asking.n
    if n < 1 or n * prompts > openai.MOST_CHOICES:
        raise Invalid(
            f"{n} choices of {prompts} prompts are wanted: 1 to {openai.MOST_CHOICES} answers are served in one "
            "request, because each costs free quota of its own.",
            param="n" if n != 1 else "prompt",
        )
    if asking.best_of not in (None, 1, n):
        raise Invalid(
            f"'best_of' is {asking.best_of}: answers are not compared here. Leave it out.", param="best_of"
        )
    if asking.echo and prompts > 1:
        raise Invalid("'echo' is served for one prompt. Leave it out, or send one.", param="echo")
    if asking.logprobs:
        raise Invalid("'logprobs' is not served: most free models tell none. Leave it out.", param="logprobs")


def _head(about: About) -> dict[str, object]:
    return {
        "id": f"cmpl-{about.id}",
        "object": "text_completion",
        "created": int(about.at),
        "model": about.model,
    }


def _echo(about: About) -> str:
    native = about.request.native
    return msgspec.json.decode(native[ECHO], type=str) if native is not None and ECHO in native else ""


def _reason(finish: str | None) -> str | None:
    """This format knows no calls of tools."""
    return finish if finish in (None, "length", "content_filter") else "stop"


def _usage(about: About, usage: Usage | None, seen: int) -> dict[str, int | bool]:
    if usage is None:
        attempts = about.request.trace.attempts
        usage = attempts[-1].usage if attempts else None
    if usage is None:
        usage = Usage(about.request.tokens_in, seen // BYTES_PER_TOKEN + 1, estimated=True)
    said: dict[str, int | bool] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
    }
    return {**said, "estimated": True} if usage.estimated else said
