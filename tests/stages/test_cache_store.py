"""The file of stored answers: what goes in comes out, what is dropped is gone, and it never grows past its size."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from potluck.store import cache_file
from potluck.store.answers import Entry, Which
from potluck.store.cache import LOOK_EVERY, SqliteAnswers
from tests.stages.cached import NOON

MIB = 1024 * 1024
T = TypeVar("T")
keys = st.integers(0, 7).map(lambda n: bytes([n]) * 16)
names = st.sampled_from(["a", "b"])


def an_entry(key: bytes, *, made: float = NOON, life: float = 100.0, size: int = 10, **fields: Any) -> Entry:
    named = {"tenant": "t", "model": "auto", "target": "acme/m", **fields}
    return Entry(key=key, made=made, expires=made + life, answer=b"x" * size, **named)


class Stored(RuleBasedStateMachine):
    """Two workers over one file against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "cache.sqlite"
        self.workers = [SqliteAnswers(path, max_bytes=64 * MIB, memory=4_000) for _ in range(2)]
        self.model: dict[bytes, Entry] = {}
        self.now = NOON

    def get(self, worker: int, key: bytes) -> Entry | None:
        return run(self.workers[worker].get(key, self.now))

    @rule(
        key=keys,
        tenant=names,
        tags=st.lists(names, max_size=2),
        life=st.integers(1, 50),
        size=st.integers(0, 2_000),
    )
    def put(self, key: bytes, tenant: str, tags: list[str], life: int, size: int) -> None:
        entry = an_entry(key, made=self.now, life=life, size=size, tenant=tenant, tags=tuple(tags))
        self.workers[0].put(entry, self.now)
        self.model[key] = entry
        assert self.get(0, key) == entry

    @rule(seconds=st.integers(2, 30))
    def wait(self, seconds: int) -> None:
        """Long enough for each worker to hear what the other has dropped."""
        self.now += max(seconds, LOOK_EVERY)

    @rule(
        tag=st.none() | names,
        tenant=st.none() | names,
        age=st.none() | st.integers(0, 40),
        worker=st.integers(0, 1),
    )
    def drop(self, tag: str | None, tenant: str | None, age: int | None, worker: int) -> None:
        self.workers[0].flush()
        which = Which(tenant=tenant, tag=tag, before=None if age is None else self.now - age)
        gone = [key for key, entry in self.model.items() if which.matches(entry)]
        dropped = run(self.workers[worker].drop(which))
        assert dropped <= len(gone)  # fewer where some had expired and were cleared away
        for key in gone:
            del self.model[key]
        self.now += LOOK_EVERY

    @invariant()
    def both_workers_know_what_is_there_and_nothing_else(self) -> None:
        self.workers[0].flush()
        self.now += LOOK_EVERY
        for number in range(8):
            key = bytes([number]) * 16
            entry = self.model.get(key)
            expected = entry if entry is not None and entry.expires > self.now else None
            assert self.get(0, key) == expected
            there = self.get(1, key)  # perhaps an older one, until it expires: stored anew is not dropped
            assert entry is not None or there is None

    def teardown(self) -> None:
        for each in self.workers:
            each.close()
        self.folder.cleanup()


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


TestStored = Stored.TestCase
TestStored.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


async def test_the_least_used_goes_when_there_is_no_room(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB, memory=1)
    for number in range(20):
        store.put(an_entry(bytes([number]) * 16, size=50_000), NOON + number)
    store.flush()
    await store.get(bytes(16), NOON + 50)  # the first is used again
    for number in range(20, 24):
        store.put(an_entry(bytes([number]) * 16, size=50_000), NOON + 60)
        store.flush()
    stats = await store.stats()
    assert stats.bytes <= MIB
    assert await store.get(bytes(16), NOON + 60) is not None
    assert await store.get(bytes([1]) * 16, NOON + 60) is None
    store.close()


async def test_what_has_expired_leaves_the_file(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB)
    store.put(an_entry(b"a" * 16, life=10), NOON)
    store.flush()
    store.put(an_entry(b"b" * 16, made=NOON + 20, size=20_000), NOON + 20)
    store.flush()
    assert (await store.stats()).entries == 1
    store.close()


@pytest.mark.parametrize("damage", [b"this is no database, it is a page of text" * 100, b""])
async def test_a_damaged_file_starts_over(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    store = SqliteAnswers(path, max_bytes=MIB)
    store.put(an_entry(b"a" * 16), NOON)
    store.flush()
    assert (await store.stats()).entries == 1
    store.close()


async def test_another_layout_starts_over(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB)
    store.put(an_entry(b"a" * 16), NOON)
    store.close()
    with contextlib.closing(cache_file.opened(path)) as connection:
        connection.write("PRAGMA user_version = 99", [()])
    assert cache_file.stats(path).entries == 0


async def test_a_store_that_fails_is_a_miss_and_not_an_error(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB, memory=1)
    store.put(an_entry(b"a" * 16), NOON)
    store.flush()
    with contextlib.closing(cache_file.opened(path)) as connection:
        connection.write("DROP TABLE entries", [()])
    assert await store.get(b"a" * 16, NOON + 5) is None
    store.put(an_entry(b"b" * 16), NOON)
    store.flush()
    store.close()


async def test_clearing_by_hand_reaches_a_gateway_that_runs(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB)
    store.put(an_entry(b"a" * 16), NOON)
    store.flush()
    assert await store.get(b"a" * 16, NOON) is not None
    assert cache_file.clear(path, Which(model="acme/m")) == 1
    assert await store.get(b"a" * 16, NOON + 2 * LOOK_EVERY) is None
    store.close()


async def test_outcomes_are_counted(path: Path) -> None:
    store = SqliteAnswers(path, max_bytes=MIB)
    for outcome in ("hit", "hit", "miss"):
        store.count(outcome)
    store.put(an_entry(b"a" * 16), NOON)
    stats = await store.stats()
    assert (stats.counts, stats.models, stats.oldest) == ({"hit": 2, "miss": 1}, {"acme/m": 1}, NOON)
    store.close()
