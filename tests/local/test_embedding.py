"""Sentences of one meaning are near each other."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.local import embedding
from potluck.local.embedding import WIDTH, Embedding, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason="the extra `semantic` is not installed")


@pytest.fixture(scope="module")
def model() -> Embedding:
    return Embedding()


def test_a_paraphrase_is_nearer_than_another_question(model: Embedding) -> None:
    asked, same, other = model.embed(
        ["What is the capital of France?", "Which city is France's capital?", "How do I bake bread?"]
    )
    assert asked @ same > 0.8 > 0.3 > asked @ other


def test_vectors_are_of_length_one_and_the_same_in_any_company(model: Embedding) -> None:
    texts = ["hello", "a much longer question about the weather in Lisbon", ""]
    rows = model.embed(texts)
    assert rows.shape == (3, WIDTH)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(model.embed(texts[1:2])[0], rows[1])


def test_no_texts_are_no_rows(model: Embedding) -> None:
    assert model.embed([]).shape == (0, WIDTH)


def test_a_missing_extra_says_what_to_install() -> None:
    assert missing() == ""
    lacking = embedding.missing(("not_a_module_at_all",))
    assert "not_a_module_at_all" in lacking
    assert "pip install 'potluck[semantic]'" in lacking
