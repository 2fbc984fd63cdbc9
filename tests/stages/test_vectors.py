"""The nearest questions are found, whether they are indexed yet or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.store.settling import settle
from potluck.store.vectors import ALIAS, WIDTH, TwoTiers, short

HERE, THERE = b"h" * 16, b"t" * 16
COUNT = 60


def random_vectors(count: int = COUNT) -> Any:
    made = np.random.default_rng(5).normal(size=(count, WIDTH)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def filled(directory: Path, *, settle: int) -> TwoTiers:
    tiers = TwoTiers(directory, settle=settle)
    for number, vector in enumerate(random_vectors(), 1):
        tiers.add(number, vector, THERE if number % 3 == 0 else HERE)
    return tiers


def expected(query: Any, context: bytes, count: int) -> list[int]:
    scores = random_vectors() @ query
    ours = [n for n in range(1, COUNT + 1) if (n % 3 == 0) == (context == THERE)]
    return sorted(ours, key=lambda n: -scores[n - 1])[:count]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TwoTiers]:
    tiers = filled(tmp_path / "v", settle=10_000)
    yield tiers
    tiers.close()


@pytest.mark.parametrize("context", [HERE, THERE])
def test_the_nearest_of_a_context_come_first(fresh: TwoTiers, context: bytes) -> None:
    query = random_vectors()[7]
    found = fresh.search(query, context, 5)
    assert [number for number, _ in found] == expected(query, context, 5)
    assert found == sorted(found, key=lambda each: -each[1])


def test_a_context_without_questions_has_no_nearest(fresh: TwoTiers) -> None:
    assert fresh.search(random_vectors()[0], b"x" * 16, 5) == []


def test_what_is_forgotten_is_not_found(fresh: TwoTiers) -> None:
    fresh.forget()
    assert fresh.search(random_vectors()[0], HERE, 5) == []
    assert fresh.upto == 0


def test_an_index_that_a_child_has_built_finds_the_same(tmp_path: Path) -> None:
    tiers = filled(tmp_path / "v", settle=50)  # the child begins with the fiftieth, ten come after
    child = tiers._child
    assert child is not None
    query = random_vectors()[7]
    assert [number for number, _ in tiers.search(query, HERE, 5)] == expected(query, HERE, 5)
    assert child.wait(60) == 0
    assert [number for number, _ in tiers.search(query, HERE, 5)] == expected(query, HERE, 5)
    assert (tiers.upto, len(tiers)) == (50, 10)
    tiers.close()
    again = TwoTiers(tmp_path / "v")
    settled = [number for number in expected(query, HERE, COUNT) if number <= 50]
    assert [number for number, _ in again.search(query, HERE, 5)] == settled[:5]
    again.close()


def built(directory: Path, numbers: list[int], vectors: Any) -> None:
    directory.mkdir(exist_ok=True)
    contexts = np.array([short(HERE)] * len(numbers))
    np.savez(directory / "coming.npz", numbers=np.array(numbers), contexts=contexts, vectors=vectors)
    settle(directory)


def test_an_index_grows_and_aliases_end_with_the_process(tmp_path: Path) -> None:
    vectors = random_vectors(4)
    built(tmp_path / "v", [1, ALIAS + 1], vectors[:2])
    built(tmp_path / "v", [2, 3], vectors[2:])
    tiers = TwoTiers(tmp_path / "v")
    assert tiers.upto == 3
    assert sorted(number for number, _ in tiers.search(vectors[1], HERE, 5)) == [1, 2, 3]
    tiers.close()


def test_a_damaged_index_is_thrown_away(tmp_path: Path) -> None:
    built(tmp_path / "v", [1], random_vectors(1))
    shutil.rmtree(tmp_path / "v" / "segments")
    (tmp_path / "v" / "edge_config.json").write_text("no JSON")
    tiers = TwoTiers(tmp_path / "v")
    assert tiers.upto == 0
    tiers.add(1, random_vectors(1)[0], HERE)
    assert [number for number, _ in tiers.search(random_vectors(1)[0], HERE, 5)] == [1]
    tiers.close()


def test_a_child_that_fails_leaves_the_matrix(tmp_path: Path) -> None:
    tiers = filled(tmp_path / "v", settle=50)
    assert tiers._child is not None
    tiers._child.kill()
    tiers._child.wait()
    query = random_vectors()[7]
    assert [number for number, _ in tiers.search(query, HERE, 5)] == expected(query, HERE, 5)
    tiers.close()
