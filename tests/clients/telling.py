"""What the scripts of the clients share: where the gateway is, and a line of JSON for each check.

It runs in each client's own environment, so it needs nothing but Python. A check returns what it saw, for the record,
or raises; a check of errors must see a sentence that names what was wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

URL = os.environ.get("POTLUCK_URL", "")
KEY = os.environ.get("POTLUCK_KEY", "")
HOME = os.environ.get("CLIENT_HOME", "")
MODEL = "auto"
ASK = "Say something about soup."
USE_TOOL = "Please use tool look_up for the soup."
DISH = "lentils, two leeks, one carrot"


def look_up(dish: str) -> str:
    """The tool that the model is offered: what is in a dish."""
    return f"{dish}: {DISH}"


def check(name: str, what: Callable[[], str]) -> None:
    """Prints {"check", "ok", "detail"}; whatever goes wrong in a client is a finding, not the end of its script."""
    try:
        ok, detail = True, what()
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    tell(name, ok, detail)


def tell(name: str, ok: bool, detail: str, **figures: object) -> None:
    line: dict[str, object] = {"check": name, "ok": ok, "detail": detail[:600]}
    print(json.dumps(line | ({"figures": figures} if figures else {})), flush=True)


def text(said: str | None, words: int = 3) -> str:
    """The answer, if it is one. Raises AssertionError."""
    assert said, "the answer is empty"
    assert len(said.split()) >= words, f"the answer is short: {said!r}"
    return said


def streamed(parts: list[str]) -> str:
    """The text of a stream that came in several parts."""
    kept = [part for part in parts if part]
    assert len(kept) > 2, f"the stream came in {len(kept)} parts"
    return text("".join(kept))


def used(said: str | None) -> str:
    """The last answer, which must repeat what the tool said: the round trip is whole."""
    assert DISH in (said or ""), f"the tool's answer is not in {said!r}"
    return said or ""


def readable(act: Callable[[], object], *words: str, kind: type[BaseException] = Exception) -> str:
    """What the client shows its user when `act` fails: a sentence with these words in it."""
    try:
        act()
    except kind as error:
        return sentence(str(error), *words)
    raise AssertionError("nothing was raised")


def sentence(said: str, *words: str) -> str:
    for word in words:
        assert word.lower() in said.lower(), f"{word!r} is not in {said!r}"
    assert len(said) > 30, f"too short to help anybody: {said!r}"
    return said


UNKNOWN = ("no-such-model",)
BAD_KEY = ("key",)
WRONG = "pk-wrong"
