"""Reads a TOML file into a Struct and refuses what it does not know, naming the file and the line.

Rules: `tomllib` decides what the file says and msgspec what it may say; the small scanner here only finds
where a key stands, and runs only once something is wrong, so that loading costs nothing extra. It may
therefore assume valid TOML 1.0 (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from potluck.errors import ConfigError

T = TypeVar("T")
Where = tuple[str | int, ...]  # ("model", 3, "quotas", 1): keys and array indices, outermost first

_AT = re.compile(r" - at `(?:key in )?(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_QUOTED = re.compile(r"`([^`]*)`|'([^']*)'")


class Document:
    """One TOML file: `data` as parsed, and `refusal` to complain about a place in it."""

    def __init__(self, name: str, text: str) -> None:
        """`name` is what people see in errors ("providers/x.toml"). Raises ConfigError on bad syntax."""
        self.name, self._text = name, text
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = _LINE.search(str(error))
            line = int(found[1]) if found else text.count("\n") + 1
            problem = _LINE.sub("", str(error))
            raise ConfigError(f"{name}:{line}: this is not TOML: {problem}") from error

    @classmethod
    def open(cls, path: Path) -> Document:
        """Reads a file. Raises ConfigError if it cannot be read or is not UTF-8."""
        name = "/".join(path.parts[-2:])
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise ConfigError(f"{name}:{line}: this is not UTF-8; save the file as UTF-8") from error
        return cls(name, text)

    def into(self, kind: type[T]) -> T:
        """The file as a `kind`. Raises ConfigError naming file and line of the first thing that is wrong."""
        try:
            return msgspec.convert(self.data, kind)
        except msgspec.ValidationError as error:
            where, problem = _explain(str(error), self.data, kind)
            raise self.refusal(where, problem) from None

    def refusal(self, where: Where, problem: str) -> ConfigError:
        """The error for a place in this file; a place that is not in it points to what encloses it."""
        lines = locate(self._text)
        while where and where not in lines:
            where = where[:-1]
        return ConfigError(f"{self.name}:{lines.get(where, 1)}: {problem}")


def meant(word: str, words: Any) -> str:
    """ "; did you mean 'requests'?" if one of `words` is close to `word`, else the list of them."""
    known = sorted(str(each) for each in words)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""


def _explain(message: str, data: Any, kind: Any) -> tuple[Where, str]:
    """Where and what: msgspec's message in the words of someone who edits a TOML file."""
    found = _AT.search(message)
    problem = message[: found.start()] if found else message
    steps: list[str | int] = []
    for key, index in _STEP.findall(found[1] if found else ""):
        steps.append(key or (int(index) if index != "..." else "..."))
    where = _resolve(tuple(steps), data, kind)
    info = _info(kind, where)
    quoted = _QUOTED.search(problem)
    word = next((group for group in quoted.groups() if group is not None), "") if quoted else ""
    if "unknown field" in problem:
        return (*where, word), f"unknown key '{word}'{meant(word, _fields(info))}"
    if "missing required field" in problem:
        return where, f"the key '{word}' is missing"
    key = next((step for step in reversed(where) if isinstance(step, str)), "value")
    if "Invalid enum value" in problem:
        return where, f"unknown {key} '{word}'{meant(word, _choices(info))}"
    return where, f"{key}: {problem[:1].lower()}{problem[1:].replace('`', '')}"


def _resolve(steps: Where, data: Any, kind: Any) -> Where:
    """msgspec writes "[...]" for a key of a table; the key is the one whose value does not convert."""
    where: Where = ()
    for step in steps:
        if step == "...":
            info = _info(kind, where)
            for key, value in data.items():
                if not _converts(value, info):
                    step = key
                    break
        where = (*where, step)
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = {}
    return where


def _converts(value: Any, info: Any) -> bool:
    inner = getattr(info, "value_type", None)
    kind: Any = str if isinstance(inner, inspect.StrType) else getattr(inner, "cls", Any)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _info(kind: Any, where: Where) -> Any:
    """The msgspec type description at a place, or None where the type does not say."""
    info: Any = inspect.type_info(kind)
    for step in where:
        info = _plain(info)
        if isinstance(info, inspect.StructType):
            info = next((field.type for field in info.fields if field.encode_name == step), None)
        else:
            info = getattr(info, "item_type", None) or getattr(info, "value_type", None)
    return _plain(info)


def _plain(info: Any) -> Any:
    if isinstance(info, inspect.UnionType):
        return next((each for each in info.types if not isinstance(each, inspect.NoneType)), None)
    return info


def _fields(info: Any) -> list[str]:
    return [field.encode_name for field in info.fields] if isinstance(info, inspect.StructType) else []


def _choices(info: Any) -> list[Any]:
    return list(info.values) if isinstance(info, inspect.LiteralType) else []


def locate(text: str) -> dict[Where, int]:
    """The line (from 1) on which every key, table and array element of a valid TOML text begins."""
    return _Scanner(text).lines


class _Scanner:
    """Walks the text once, keeping only where things begin."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text.replace("\r\n", "\n") + "\n", 0, 1
        self.lines: dict[Where, int] = {(): 1}
        self._last: dict[Where, int] = {}  # the newest index of every array of tables
        table: Where = ()
        while self._skip("\n"):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, extra: str = "") -> bool:
        """Passes blanks, comments and what is in `extra`. False at the end of the text."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                self._move(self._text.index("\n", self._at))
            elif char in " \t" or char in extra:
                self._move(self._at + 1)
            else:
                return True
        return False

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _header(self) -> Where:
        many = self._text.startswith("[[", self._at)
        self._move(self._at + (2 if many else 1))
        line, keys = self._line, self._keys()
        where: Where = ()
        self._move(self._text.index("\n", self._at))
        for number, key in enumerate(keys, 1):
            where = (*where, key)
            if many and number == len(keys):
                self._last[where] = self._last.get(where, -1) + 1
                self.lines.setdefault(where, line)
            if where in self._last:
                where = (*where, self._last[where])
            self.lines.setdefault(where, line)
        return where

    def _keys(self) -> list[str]:
        """A dotted key, up to and without the `=` or `]` behind it."""
        keys: list[str] = []
        while True:
            self._skip()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                keys.append(str(tomllib.loads(f"k={self._text[start : self._at]}")["k"]))
            else:
                self._move(start + len(re.match(r"[A-Za-z0-9_-]*", self._text[start:])[0]))  # type: ignore[index]
                keys.append(self._text[start : self._at])
            self._skip()
            if self._text[self._at] != ".":
                return keys
            self._move(self._at + 1)

    def _pair(self, table: Where) -> None:
        line = self._line
        for key in self._keys():
            table = (*table, key)
            self.lines.setdefault(table, line)
        self._move(self._at + 1)  # the "="
        self._value(table)

    def _value(self, where: Where) -> None:
        self._skip("\n")
        self.lines.setdefault(where, self._line)
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char in "[{":
            self._nested(where, "]" if char == "[" else "}")
        else:
            self._move(self._at + re.search(r"[,\]}#\n]", self._text[self._at :]).start())  # type: ignore[union-attr]

    def _nested(self, where: Where, end: str) -> None:
        self._move(self._at + 1)
        number = 0
        while self._skip("\n,") and self._text[self._at] != end:
            if end == "]":
                self._value((*where, number))
                number += 1
            else:
                self._pair(where)
        self._move(self._at + 1)

    def _string(self) -> None:
        quote = self._text[self._at]
        mark = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        at = self._at + len(mark)
        while not self._text.startswith(mark, at):
            at += 2 if quote == '"' and self._text[at] == "\\" else 1
        at += len(mark)
        while len(mark) == 3 and self._text[at] == quote:  # up to two quotes may stand before the last three
            at += 1
        self._move(at)
