"""`potluck models list|pull|use`: what is here, what is used, and what is said when it is not so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import ConfigError
from potluck.local.registry import Model, Models, _free_name
from tests.local.conftest import TINY, TINY_SHA, Hub


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A GGUF the user brings."""
    path = tmp_path / "My Model (v2).gguf"
    path.write_bytes(TINY)
    return path


def test_a_newcomer_has_the_builtin_model_to_fetch(tmp_path: Path) -> None:
    (line,) = Models(tmp_path).list()
    assert (line.model.name, line.here, line.current) == ("smollm2-135m", False, True)
    assert line.model.size == 98_362_432


def test_fetched_weights_are_seen_to_be_here(smollm: Model) -> None:
    line = Models(Path(smollm.path).parent.parent).list()[0]
    assert line.here
    assert line.model == smollm


def test_a_model_is_used_by_its_path_and_then_by_its_name(tmp_path: Path, mine: Path) -> None:
    model = Models(tmp_path).use(str(mine))
    assert (model.name, model.path, model.context) == ("my-model-v2", str(mine), 2048)
    assert Models(tmp_path).use("smollm2-135m").name == "smollm2-135m"
    assert [line.current for line in Models(tmp_path).list()] == [True, False]
    assert Models(tmp_path).use("my-model-v2") == model
    assert Models(tmp_path).current() == model


def test_using_the_same_path_twice_lists_it_once(tmp_path: Path, mine: Path) -> None:
    Models(tmp_path).use(str(mine))
    Models(tmp_path).use(str(mine))
    assert len(Models(tmp_path).list()) == 2


async def test_a_model_that_is_gone_is_missed_by_name(tmp_path: Path, mine: Path) -> None:
    Models(tmp_path).use(str(mine))
    assert (await Models(tmp_path).ready()).path == str(mine)
    mine.unlink()
    assert [line.here for line in Models(tmp_path).list()] == [False, False]
    with pytest.raises(ConfigError, match=r"my-model-v2 was at .* and is gone.*models use smollm2-135m"):
        await Models(tmp_path).ready()


def test_what_is_neither_name_nor_path_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'gpt-9' is neither a model known here \(smollm2-135m\) nor a file"
    ):
        Models(tmp_path).use("gpt-9")


def test_a_file_that_is_no_model_is_not_registered(tmp_path: Path) -> None:
    (tmp_path / "cat.gguf").write_bytes(b"meow")
    with pytest.raises(ConfigError, match="not a usable GGUF"):
        Models(tmp_path).use(str(tmp_path / "cat.gguf"))
    assert len(Models(tmp_path).list()) == 1


async def test_a_model_is_pulled_from_the_hub_by_name_and_hash(tmp_path: Path, hub: Hub) -> None:
    model = await Models(tmp_path).pull("org/repo/tiny.gguf", TINY_SHA, url=hub.template)
    assert hub.asked == ["/org/repo/tiny.gguf"]
    assert (model.name, model.source, model.sha256) == ("tiny", "org/repo/tiny.gguf", TINY_SHA)
    assert Path(model.path) == tmp_path / "models" / "org--repo" / "tiny.gguf"
    assert Models(tmp_path).current().name == "smollm2-135m", "pulling does not change what is used"


async def test_a_pull_with_a_wrong_hash_registers_nothing(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(ConfigError, match="Nothing was kept"):
        await Models(tmp_path).pull("org/repo/tiny.gguf", "0" * 64, url=hub.template)
    assert len(Models(tmp_path).list()) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_two_files_of_the_same_name_get_two_names(tmp_path: Path, hub: Hub) -> None:
    hub.files["/other/repo/tiny.gguf"] = TINY
    for repo in ("org", "other"):
        await Models(tmp_path).pull(f"{repo}/repo/tiny.gguf", TINY_SHA, url=hub.template)
    assert [line.model.name for line in Models(tmp_path).list()] == ["smollm2-135m", "tiny", "tiny-2"]


@pytest.mark.parametrize("text", ["{", "[]", '{"models": [{"nmae": "x"}]}', "\xff"])
def test_a_broken_record_is_shown_to_the_user_and_never_replaced(
    tmp_path: Path, text: str, mine: Path
) -> None:
    file = tmp_path / "models.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"models\.json cannot be read.*Repair it, or delete it"):
        Models(tmp_path).use(str(mine))
    assert file.read_bytes() == text.encode("latin-1")


@given(st.text(max_size=40), st.sets(st.sampled_from(["model", "model-2", "a", "a-2"])))
def test_every_file_gets_a_name_that_is_easy_to_type_and_free(stem: str, taken: set[str]) -> None:
    name = _free_name(Path("/somewhere") / (stem.replace("/", "").replace("\0", "") + ".gguf"), taken)
    assert name
    assert name not in taken
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
