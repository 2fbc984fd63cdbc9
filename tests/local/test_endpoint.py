"""Workers learn the local model's address from their environment, and see one more provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from potluck.errors import ConfigError
from potluck.local.availability import unavailable
from potluck.local.endpoint import VARIABLE, Endpoint, targets
from potluck.types import Secret

_WHOLE = Endpoint(
    name="my-model",
    base_url="http://127.0.0.1:4001/v1",
    key=Secret("hush"),
    context=4096,
    quality=2,
    embedder="smollm2-135m",
    embeddings_url="http://127.0.0.1:4002/v1",
)


def test_what_the_parent_writes_a_worker_reads() -> None:
    read = Endpoint.from_env(_WHOLE.to_env())
    assert read == _WHOLE
    assert read
    assert read.key.reveal() == "hush"
    assert (read.port, read.embeddings_port) == (4001, 4002)


def test_without_a_local_model_there_is_nothing_to_read() -> None:
    assert Endpoint.from_env({}) is None
    with pytest.raises(ConfigError, match=f"{VARIABLE} is not what Potluck wrote"):
        Endpoint.from_env({VARIABLE: "{"})


def test_the_key_is_not_shown() -> None:
    assert "hush" not in repr(_WHOLE) + str(targets(_WHOLE)) + f"{_WHOLE.key}"


def test_chat_and_embeddings_are_two_targets_that_never_leave_the_machine() -> None:
    chat, vectors = targets(_WHOLE)
    assert (chat.id, chat.kind, chat.base_url) == ("local/my-model", "chat", _WHOLE.base_url)
    assert (vectors.id, vectors.kind) == ("local/smollm2-135m#embeddings", "embeddings")
    assert vectors.base_url == _WHOLE.embeddings_url
    assert chat.local
    assert vectors.local
    assert chat.trains_on_data is False
    assert not chat.tools
    assert (chat.context, chat.quality) == (4096, 2)


def test_both_have_a_waiting_room_of_their_own() -> None:
    chat, vectors = targets(_WHOLE, waiting=3)
    (first,), (second,) = chat.quotas, vectors.quotas
    assert (first.unit, first.amount) == ("concurrent", 3)
    assert first.id != second.id


def test_without_an_embedder_there_is_only_chat() -> None:
    (chat,) = targets(Endpoint("m", "http://127.0.0.1:4001/v1", Secret("k"), 2048))
    assert chat.kind == "chat"


def test_this_machine_can_run_the_local_model() -> None:
    assert unavailable() == ""


def test_a_machine_without_the_runtime_is_told_how_to_get_it() -> None:
    assert "not installed. Install it with `pip install 'potluck[local]'`" in unavailable("no_such_runtime")


def test_a_processor_without_avx2_is_found_out_before_anything_native_runs(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("processor\t: 0\nflags\t\t: fpu sse sse2 avx\n")
    new.write_text("processor\t: 0\nflags\t\t: fpu sse sse2 avx avx2 fma\n")
    assert "no AVX2" in unavailable(cpuinfo=old, machine="x86_64")
    assert unavailable(cpuinfo=new, machine="x86_64") == ""
    assert unavailable(cpuinfo=old, machine="aarch64") == ""
    assert unavailable(cpuinfo=tmp_path / "not linux", machine="AMD64") == ""
