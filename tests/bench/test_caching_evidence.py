"""The stream that caching is measured on is what it says, and each cache is counted alike."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from bench.evidence.cache_runs import cosine, potluck
from bench.evidence.claim import REPORT, TUNE, Absent
from bench.evidence.support_stream import Questions, arrivals, read

INTENTS = ("lost_card", "top_up", "exchange")


@pytest.fixture
def questions() -> Questions:
    """Eight ways to ask for each of three things, near each other."""
    generator = np.random.default_rng(2)
    texts = [f"{intent} {'abcdefgh'[n]}" for intent in INTENTS for n in range(8)]
    centres = generator.normal(size=(3, 384)).repeat(8, axis=0)
    vectors = centres + 0.1 * generator.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Questions(texts, [text.split()[0] for text in texts], vectors.astype(np.float32))


def test_without_repeats_each_text_arrives_once(questions: Questions) -> None:
    order = arrivals(questions, 1, 1_000, repeats=False)
    assert sorted(order) == list(range(24))
    assert (
        order == arrivals(questions, 1, 1_000, repeats=False) != arrivals(questions, 2, 1_000, repeats=False)
    )


def test_with_repeats_frequent_intents_follow_zipfs_law(questions: Questions) -> None:
    order = arrivals(questions, 1, 3_000, repeats=True)
    shares = sorted((sum(row // 8 == intent for row in order) / 3_000 for intent in range(3)), reverse=True)
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.03)


def test_hits_are_calls_spared_and_nothing_else(questions: Questions) -> None:
    order = arrivals(questions, 1, 1_000, repeats=False)
    for played in (potluck(questions, order, 0.05, seed=1), cosine(questions, order, 0.8)):
        assert len(played.hits) == len(order)
        assert 0.5 < played.hit_rate <= 21 / 24, "the first of each intent is never a hit"
        assert sum(played.wrong) == 0


def test_a_threshold_that_is_too_low_is_counted_as_wrong(questions: Questions) -> None:
    order = arrivals(questions, 1, 1_000, repeats=False)
    assert cosine(questions, order, -0.9).hit_rate == 23 / 24
    assert cosine(questions, order, -0.9).wrong_rate > 0.3


def test_no_text_is_in_both_halves(tmp_path: Path) -> None:
    folder = tmp_path / "banking77"
    folder.mkdir()
    for name in ("train", "test"):
        with gzip.open(folder / f"{name}.csv.gz", "wt", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "category"))
            rows.writerows((f"question {n}, really", "lost_card") for n in range(50))
    tune, report = (read(tmp_path, which)[0] for which in (TUNE, REPORT))
    assert not set(tune) & set(report)
    assert len(tune) + len(report) == 50
    with pytest.raises(Absent, match="is not there"):
        read(tmp_path / "nowhere", TUNE)
