"""A mistake in a provider file stops the start, and says where: in shipped files and in a user's own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potluck import catalog
from potluck.catalog import SHIPPED
from potluck.catalog.load import read
from potluck.errors import ConfigError
from potluck.strict import Document, Where

PROVIDERS = catalog.load()
FILES = sorted(SHIPPED.glob("*.toml"))

GOOD = """\
id = "mine"
name = "Mine"
base_url = "https://llm.example.com/v1"
key_env = ["MINE_KEY"]
error = [{ status = 429, pattern = "day", means = "day" }]

[params]
drop = ["logit_bias"]

[[quota]]
unit = "requests"
amount = 10
window = "minute"
scope = "account"
basis = "assumed"
source = "ME"

[[model]]
id = "m-7b"
name = "m-7b"
source = "ME"
specialities = ["general"]
quality = 2

[sources.ME]
where = "me"
seen = 2026-11-01
"""


def test_the_good_file_is_good() -> None:
    assert read(Document("mine.toml", GOOD)).model[0].id == "m-7b"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('unit = "requests"', 'unit = "request"', 11, "unknown unit 'request'; did you mean 'requests'?"),
        ('window = "minute"', 'window = "minutes"', 13, "unknown window 'minutes'"),
        ("amount = 10", "amuont = 10", 12, "unknown key 'amuont'; did you mean 'amount'?"),
        ('scope = "account"', 'scope = "acount"', 14, "unknown scope"),
        ('basis = "assumed"', 'basis = "guess"', 15, "unknown basis"),
        ('source = "ME"', 'source = "YOU"', 16, "unknown source 'YOU'"),
        ('means = "day"', 'means = "days"', 5, "unknown means 'days'; did you mean 'day'?"),
        ('pattern = "day"', 'pattern = "("', 5, "not a regular expression"),
        ('drop = ["logit_bias"]', 'drop = ["logit_baas"]', 8, "unknown parameter 'logit_baas'"),
        ('specialities = ["general"]', 'specialities = ["visoin"]', 22, "did you mean 'vision'?"),
        ("quality = 2", "quality = 7", 23, "quality must be 1 to 5"),
        ("quality = 2", "", 18, "quality must be 1 to 5"),
        ("quality = 2", 'quality = 2\nkind = "embeddings"', 24, "go together"),
        ("quality = 2", "quality = 2\ncontext = 9", 24, "size_basis"),
        ("amount = 10", "", 10, "unknown = true"),
        ("amount = 10", "amount = -1", 12, "negative"),
        ('window = "minute"', 'window = "seconds"', 13, "seconds = N"),
        ('unit = "requests"', 'unit = "concurrent"', 13, "concurrent"),
        ("seen = 2026-11-01", 'seen = "yesterday"', 27, "seen"),
        ("https://", "http://", 3, "https://"),
        ("/v1", "/v1/", 3, "end with '/'"),
        ("https://", "https://user:pw@", 3, "user"),
        ("/v1", "/{ACCOUNT}/v1", 3, "ACCOUNT"),
        ('key_env = ["MINE_KEY"]', "", 1, "key_env"),
        ('id = "mine"', 'id = "My Own"', 1, "lower-case"),
        ('name = "Mine"', "", 1, "'name' is missing"),
        ('name = "Mine"', 'name = "Mine"\ntombstone = "gone"', 1, "tombstone"),
        ("[sources.ME]", '[[model]]\nid = "m-7b"\nsource = "ME"\n[sources.ME]', 26, "listed twice"),
        ('source = "ME"\n\n', 'source = "ME"\nmodels = ["x"]\n\n', 17, "unknown model 'x'"),
    ],
)
def test_a_mistake_is_refused_on_its_line(old: str, new: str, line: int, words: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(ConfigError) as caught:
        read(Document("mine.toml", text))
    assert str(caught.value).startswith(f"mine.toml:{line}: ")
    assert words in str(caught.value)


def places(value: Any, at: Where = ()) -> list[Where]:
    """Every key of parsed TOML that the format knows by name (names of sources and headers are free)."""
    if isinstance(value, list):
        return [each for n, inner in enumerate(value) for each in places(inner, (*at, n))]
    if not isinstance(value, dict) or at in (("params", "headers"), ("params", "defaults")):
        return []
    named = [] if at in (("sources",), ("params", "rename")) else [(*at, key) for key in value]
    return named + [each for key, inner in value.items() for each in places(inner, (*at, key))]


@given(st.data())
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_misspelt_key_of_any_shipped_file_is_refused_with_its_file_and_line(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(FILES))
    text = path.read_text()
    place = data.draw(st.sampled_from(places(tomllib.loads(text))))
    rows = text.splitlines()
    line = Document(path.name, text).refusal(place, "").args[0].split(":")[1]
    key = str(place[-1])
    row = rows[int(line) - 1]
    rows[int(line) - 1] = re.sub(rf"\b{key}\b", f"{key}_x", row, count=1)
    spoilt = tmp_path / path.name
    spoilt.write_text("\n".join(rows) + "\n")
    with pytest.raises(ConfigError) as caught:
        read(Document.open(spoilt))
    assert f"{path.name}:" in str(caught.value)


def test_the_directory_of_a_user_replaces_and_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "groq.toml").write_text(
        'id = "groq"\nextends = true\nbase_url = "https://proxy.example.com/v1"\n'
        '[[model]]\nid = "new/model"\nname = "new"\nsource = "ME"\nquality = 4\n'
        '[sources.ME]\nwhere = "me"\nseen = 2026-11-20\n'
    )
    both = catalog.load(SHIPPED, tmp_path)
    assert len(both) == len(PROVIDERS) + 1
    groq = both["groq"]
    assert groq.base_url == "https://proxy.example.com/v1"
    assert groq.name == PROVIDERS["groq"].name
    assert groq.quota == PROVIDERS["groq"].quota
    assert [model.id for model in groq.model] == ["new/model", *(m.id for m in PROVIDERS["groq"].model)]
    assert catalog.targets(both, {"MINE_KEY": "k"})[0].id == "mine/m-7b"


def test_extending_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('id = "nowhere"\nextends = true\n')
    with pytest.raises(ConfigError, match=r"x\.toml:2: there is no provider 'nowhere'"):
        catalog.load(SHIPPED, tmp_path)


def test_two_files_of_one_directory_cannot_claim_one_id(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"b\.toml:1: the id 'mine' is already taken by .*a\.toml"):
        catalog.load(tmp_path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such directory"):
        catalog.load(tmp_path / "none")


def test_a_template_is_checked_but_yields_nothing(tmp_path: Path) -> None:
    (tmp_path / "_mine.toml").write_text(GOOD)
    assert catalog.load(tmp_path) == {}
    (tmp_path / "_mine.toml").write_text(GOOD.replace("amount", "amuont"))
    with pytest.raises(ConfigError, match=r"_mine\.toml:12"):
        catalog.load(tmp_path)
