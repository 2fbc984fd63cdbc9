"""`potluck ask` and `potluck chat`: questions to the running gateway, answers as they are written.

Rules: the answer alone goes to stdout; who served it and what is left go to stderr. What was said in a chat
lives in memory only: prompts are not recorded unless asked, and a history file would be a record.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.cli.running import Answer, Running

System = Annotated[str, typer.Option("--system", "-s", help="Instructions the model gets before the prompt.")]


def ask(
    prompt: Annotated[list[str], typer.Argument(help="The question; - reads it from stdin.")],
    model: options.Model = "auto",
    system: System = "",
    max_tokens: Annotated[int, typer.Option(min=0, help="The longest answer; 0 = the model decides.")] = 0,
    json: options.Json = False,
    show_trace: Annotated[
        bool, typer.Option(help="Say which targets were tried, and how long it took.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Ask one question; the answer streams to the terminal.

    The gateway is the one at POTLUCK_URL, or the configured one on this machine; POTLUCK_KEY is its client key.
    """
    text = " ".join(prompt)
    if text == "-":
        text = sys.stdin.read()
    if not text.strip():
        raise typer.BadParameter("there is no question; write one, or pipe it in with -", param_hint="PROMPT")
    messages = [{"role": "system", "content": system}] if system else []
    body: dict[str, Any] = {"model": model, "messages": [*messages, {"role": "user", "content": text}]}
    if max_tokens:
        body["max_tokens"] = max_tokens
    running = options.gateway(config)
    if json:
        _as_json(running, body)
    else:
        say(running, body, show_trace=show_trace)


def say(running: Running, body: dict[str, Any], *, show_trace: bool = False) -> Answer:
    """Stream one answer to stdout and its provenance to stderr. Raises NotRunning, Refused, Interrupted."""
    from potluck.cli.show import note

    began = time.monotonic()
    first = 0.0
    answer, texts = running.stream(body)
    try:
        with closing(texts):  # type: ignore[type-var]
            for text in texts:
                first = first or time.monotonic() - began
                sys.stdout.write(text)
                sys.stdout.flush()
    finally:
        if answer.parts and not answer.text.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()
    note(f"[dim]{provenance(answer, time.monotonic() - began)}[/]")
    if show_trace:
        for line in trace(answer, first):
            note(f"[dim]  {line}[/]")
    return answer


def provenance(answer: Answer, seconds: float) -> str:
    """One line in markup: who served it, how much it was, how long it took, what is left."""
    from potluck.cli.show import escape

    tokens = answer.usage.get("completion_tokens")
    parts = [escape(answer.told.get("target", "an unnamed target"))]
    took = f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    parts.append(f"{tokens:,} tokens in {took}" if isinstance(tokens, int) else took)
    if left := answer.told.get("left"):
        parts.append(f"{escape(left)} left")
    if answer.finish == "length":
        parts.append("cut at the length limit")
    elif not answer.parts:
        parts.append("no text came")
    return " · ".join(parts)


def trace(answer: Answer, first: float) -> Iterator[str]:
    """What happened to the request, line by line, in markup."""
    from potluck.cli.show import escape

    for attempt in filter(None, answer.told.get("tried", "").split(", ")):
        target, _, outcome = attempt.rpartition("=")
        yield f"tried  {escape(target)}: {escape(outcome.replace('_', ' '))}"
    yield f"served {escape(answer.told.get('target', 'unknown'))}"
    yield f"first token after {first:.2f} s" if first else "no token came"
    if answer.usage:
        prompt, words = answer.usage.get("prompt_tokens", "?"), answer.usage.get("completion_tokens", "?")
        yield f"prompt {prompt} tokens, answer {words}"
    for name, value in sorted(answer.told.items()):
        if name not in ("tried", "target", "left"):
            yield f"{escape(name)} {escape(value)}"


def _as_json(running: Running, body: dict[str, Any]) -> None:
    from potluck.cli.show import emit

    began = time.monotonic()
    answer, texts = running.stream(body)
    for _ in texts:
        pass
    emit(
        {
            "answer": answer.text,
            "model": body["model"],
            "finish": answer.finish,
            "usage": answer.usage,
            "seconds": round(time.monotonic() - began, 3),
            **{name: answer.told.get(name, "") for name in ("target", "tried", "left", "request")},
        }
    )


HELP = """[bold]/model NAME[/]  talk to another model    [bold]/models[/]  list them
[bold]/new[/]         forget what was said      [bold]/quit[/]    leave (or Ctrl-D)
Ctrl-C stops an answer. [dim]A line that ends in \\ goes on in the next.[/]"""


def chat(model: options.Model = "auto", system: System = "", config: options.Config = None) -> None:
    """Talk to a model; each answer streams. /help lists the commands."""
    from potluck.cli.show import note

    talk = Talk(options.gateway(config), model, system)
    with_history(talk.words)
    note(f"[bold]Potluck[/] · {talk.model} at {talk.running.url} · /help")
    while talk.turn(read_line):
        pass


class Talk:
    """One conversation: the messages so far, and what the slash commands do to them."""

    def __init__(self, running: Running, model: str, system: str = "") -> None:
        self.running, self.model, self.system = running, model, system
        self.messages: list[dict[str, str]] = []
        self.commands: dict[str, Callable[[str], bool]] = {
            "/model": self._model,
            "/models": self._models,
            "/new": self._new,
            "/help": self._help,
            "/quit": lambda _: False,
        }

    def turn(self, read: Callable[[], str | None]) -> bool:
        """Read one line and do what it says; False when the conversation is over."""
        line = read()
        if line is None:
            return False
        word, _, rest = line.strip().partition(" ")
        if word in self.commands:
            return self.commands[word](rest.strip())
        if word.startswith("/"):
            return self._say(f"There is no command {word}; /help lists them.")
        if word:
            self._ask(line.strip())
        return True

    def words(self) -> list[str]:
        """What the Tab key completes."""
        return [*self.commands, *(f"/model {name}" for name in self._names())]

    def _ask(self, text: str) -> None:
        from potluck.cli.show import problem
        from potluck.errors import PotluckError

        asked = [*self.messages, {"role": "user", "content": text}]
        head = [{"role": "system", "content": self.system}] if self.system else []
        try:
            answer = say(self.running, {"model": self.model, "messages": [*head, *asked]})
        except PotluckError as error:  # the question is not kept, so it can be asked again
            problem(str(error))
        except KeyboardInterrupt:
            self._say("stopped; the question was not kept")
        else:
            self.messages = [*asked, {"role": "assistant", "content": answer.text}]

    def _model(self, name: str) -> bool:
        names = self._names()
        if not name:
            return self._say(f"You talk to {self.model}. /model NAME changes that; /models lists them.")
        if names and name not in names:
            return self._say(
                f"This gateway has no model {name}; you still talk to {self.model}. /models lists them."
            )
        self.model = name
        return self._say(f"You talk to {name} now. What was said so far goes along; /new forgets it.")

    def _models(self, _: str) -> bool:
        return self._say("  ".join(self._names()) or "The gateway does not say what it has.")

    def _new(self, _: str) -> bool:
        self.messages = []
        return self._say("Forgotten. A new conversation.")

    def _help(self, _: str) -> bool:
        from potluck.cli.show import note

        note(HELP)
        return True

    def _say(self, text: str) -> bool:
        from potluck.cli.show import escape, note

        note(f"[dim]{escape(text)}[/]")
        return True

    def _names(self) -> list[str]:
        from potluck.errors import PotluckError

        try:
            return [str(model["id"]) for model in self.running.get("/v1/models")["data"]]
        except (PotluckError, KeyError, TypeError):
            return []


def read_line() -> str | None:
    """One line from the person or the pipe, continued after a final backslash; None at the end."""
    lines: list[str] = []
    prompt = "› " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return ""
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])
        prompt = "… " if prompt else ""


def with_history(words: Callable[[], list[str]]) -> None:
    """Arrow keys recall, Tab completes: `input` uses readline once it is imported. Not on every platform."""
    try:
        import readline
    except ImportError:
        return
    known: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if not known:
            known.extend(words())
        matches = [word for word in known if word.startswith(text)]
        return matches[state] if state < len(matches) and text.startswith("/") else None

    readline.set_completer_delims("")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
