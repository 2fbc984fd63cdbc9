"""A GGUF head is read for what it says, and refused in words when it is not one."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import ConfigError
from potluck.local import gguf
from potluck.local.registry import Model
from tests.local.conftest import TINY, gguf_bytes, text

_ARCHITECTURE = ("general.architecture", 8, text("llama"))
_CONTEXT = ("llama.context_length", 4, struct.pack("<I", 8192))
_OTHER = st.sampled_from(
    [
        ("general.name", 8, text("Smol Ünïcode")),
        ("a.bool", 7, b"\1"),
        ("a.float", 6, struct.pack("<f", 1.5)),
        ("a.double", 12, struct.pack("<d", 1.5)),
        ("a.small", 1, b"\xff"),
        ("numbers", 9, struct.pack("<IQ3I", 4, 3, 1, 2, 3)),
        ("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text("")),
        ("empty", 9, struct.pack("<IQ", 8, 0)),
    ]
)


def test_the_real_model_says_how_long_its_context_is(smollm: Model) -> None:
    assert gguf.read(Path(smollm.path)) == gguf.Head("llama", 8192)


@given(st.lists(_OTHER), st.lists(_OTHER), st.sampled_from([2, 3]))
def test_the_context_is_found_among_any_other_fields(
    before: list[tuple[str, int, bytes]], after: list[tuple[str, int, bytes]], version: int
) -> None:
    data = gguf_bytes(*before, _ARCHITECTURE, *after, _CONTEXT, *before, version=version)
    assert gguf.parse(io.BytesIO(data)) == gguf.Head("llama", 8192)


def test_a_model_that_does_not_say_its_context_is_still_a_model() -> None:
    assert gguf.parse(io.BytesIO(gguf_bytes(_ARCHITECTURE))) == gguf.Head("llama", 0)


@given(st.integers(0, len(TINY) - 1))
def test_a_file_cut_anywhere_in_its_head_is_refused(length: int) -> None:
    with pytest.raises(gguf.Broken):
        gguf.parse(io.BytesIO(TINY[:length]))


@given(st.binary(max_size=300))
def test_no_bytes_at_all_lead_to_anything_but_a_refusal(data: bytes) -> None:
    with pytest.raises(gguf.Broken):
        gguf.parse(io.BytesIO(b"GGUF\3\0\0\0" + data))


def test_lengths_that_promise_more_than_the_file_holds_are_refused() -> None:
    for value in (struct.pack("<IQ", 4, 2**63), struct.pack("<IQ", 8, 2**63), struct.pack("<IQ", 99, 1)):
        with pytest.raises(gguf.Broken):
            gguf.parse(io.BytesIO(gguf_bytes(("long", 9, value), _ARCHITECTURE)))


def test_a_refusal_names_the_file_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "cat.gguf"
    path.write_bytes(b"\x89PNG not a model")
    with pytest.raises(ConfigError, match=r"cat\.gguf is not a usable GGUF model.*letters GGUF.*again"):
        gguf.read(path)
    with pytest.raises(ConfigError, match="No such file"):
        gguf.read(tmp_path / "nothing")
