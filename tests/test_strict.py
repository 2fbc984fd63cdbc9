"""A refusal names the file and the line, whatever is wrong and however the TOML is written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.catalog import SHIPPED
from potluck.errors import ConfigError
from potluck.strict import Document, Where, locate, meant


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    unit: Literal["requests", "tokens"] = "requests"
    amount: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rows: list[Inner] = []
    table: dict[str, Inner] = {}
    words: tuple[str, ...] = ()


def paths(value: Any, at: Where = ()) -> Iterator[Where]:
    """Every place in parsed TOML."""
    yield at
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from paths(inner, (*at, step))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_every_shipped_file_is_found_on_its_line(path: Path) -> None:
    text = path.read_text()
    lines, rows = locate(text), text.splitlines()
    places = set(paths(tomllib.loads(text)))
    assert places == set(lines)
    for place, line in lines.items():
        last = place[-1] if place else 0
        if isinstance(last, str):
            assert last in rows[line - 1]


WORDS = st.text(alphabet="abc XYZ_-=[]{}#.,'\"\\\n\té", max_size=8)
VALUES = st.recursive(
    st.integers() | st.booleans() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def written(value: Any) -> str:
    """TOML for a value, with arrays over several lines and tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return '[ # a comment with ] and " in it\n' + "".join(f"  {written(each)},\n" for each in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(key)} = {written(each)}" for key, each in value.items()) + " }"
    return quoted(value)


def quoted(text: str) -> str:
    escaped = "".join(f"\\u{ord(char):04x}" if char in '\\"\n\t' else char for char in text)
    return f'"{escaped}"'


@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_toml_is_located_place_by_place(data: dict[str, Any]) -> None:
    pairs = "".join(f"{quoted(key)} = {written(value)}\n" for key, value in data.items())
    assert set(locate(pairs)) == set(paths(tomllib.loads(pairs)))
    nested = f"[[a.rows]]\n[a.rows.first]\n{pairs}\n[[a.rows]]\n[a.rows.sub] # end\n{pairs}"
    assert set(locate(nested)) == set(paths(tomllib.loads(nested)))


def test_multi_line_strings_count_their_lines() -> None:
    lines = locate('a = """\none\n"two" \\"""\n\nx"""\nb = \'\'\'\n#\n\'\'\'\nc.d = 1\n')
    assert lines[("a",)] == 1
    assert lines[("b",)] == 6
    assert lines[("c", "d")] == 9


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('name = "x"\n\nnmae = 1\n', 3, "unknown key 'nmae'; did you mean 'name'?"),
        ("words = []\n", 1, "the key 'name' is missing"),
        (
            'name = "x"\nrows = [\n  { unit = "tokens" },\n  { unit = "token" },\n]\n',
            4,
            "unknown unit 'token'",
        ),
        ('name = "x"\n[[rows]]\n[[rows]]\namount = "1"\n', 4, "amount: expected int, got str"),
        ('name = "x"\n[table.good]\namount = 1\n[table.bad]\namonut = 1\n', 5, "did you mean 'amount'?"),
        ('name = "x"\n[table.a]\n[table.b]\nunit = "request"\n', 4, "did you mean 'requests'?"),
        ('name = "x"\nwords = [\n"a",\n3]\n', 4, "expected str, got int"),
        ('name = "x"\nname = "y"\n', 2, "this is not TOML"),
        ('name = "x\n', 1, "this is not TOML"),
        ("name = [\n\n\n", 4, "this is not TOML"),
    ],
)
def test_a_refusal_names_the_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Document("some/file.toml", text).into(Outer)
    assert str(caught.value).startswith(f"some/file.toml:{line}: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused_on_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b'name = "x"\nwords = ["\xff"]\n')
    with pytest.raises(ConfigError, match=r"bad\.toml:2: this is not UTF-8"):
        Document.open(tmp_path / "bad.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        Document.open(tmp_path / "none.toml")


def test_what_is_meant_is_guessed_or_listed() -> None:
    assert meant("request", ["requests", "tokens"]) == "; did you mean 'requests'?"
    assert meant("zzz", ["requests", "tokens"]) == "; known: requests, tokens"
    assert meant("zzz", []) == ""


@given(
    st.text(max_size=60) | st.sampled_from(["name", "rows = 3", "name = 3", "[table.x.y]", "[[rows]]\nz=1"])
)
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        Document("some/file.toml", text).into(Outer)
        problem = ""
    except ConfigError as error:
        problem = str(error)
    assert not problem or problem.startswith("some/file.toml:")
