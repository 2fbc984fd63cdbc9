"""The sums of what was spared: written once, added up over workers, kept while the store is away."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.store import migrate, savings
from potluck.store.database import Connection, Database
from potluck.store.savings import Checked, Saved, Savings
from potluck.types import Saving

NOVEMBER_24 = 1_795_500_000.0  # 2026-11-24T05:20Z
DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Connection:
    database = Database.at(tmp_path / "potluck.sqlite")
    migrate.prepare(database)
    return database.connect()


def hit(target: str = "groq/m", tokens_in: int = 10) -> Saving:
    return Saving("cache", requests=1, tokens_in=tokens_in, tokens_out=5, target=target)


def test_two_workers_add_to_the_same_sums(store: Connection) -> None:
    one, two = Savings(lambda: NOVEMBER_24), Savings(lambda: NOVEMBER_24)
    one.saved([hit(), hit("google/g")])
    two.saved([hit()])
    two.checked("cache", True)
    one.checked("cache", False)
    for worker in (one, two, one):  # the third time there is nothing new
        worker.write(store)
    saved, checked = savings.since(store, "2026-11-24")
    assert saved == [Saved("cache", "google/g", 1, 1, 10, 5), Saved("cache", "groq/m", 2, 2, 20, 10)]
    assert checked == [Checked("cache", 2, 1)]
    store.close()


def test_days_before_the_asked_one_do_not_count(store: Connection) -> None:
    now = NOVEMBER_24
    book = Savings(lambda: now)
    book.saved([hit()])
    now += DAY
    book.saved([hit()])
    book.write(store)
    assert [one.times for one in savings.since(store, "2026-11-25")[0]] == [1]
    assert [one.times for one in savings.since(store, "2026-11-24")[0]] == [2]
    store.close()


def test_what_a_locked_store_did_not_take_is_written_later_and_once(
    tmp_path: Path, store: Connection
) -> None:
    book = Savings(lambda: NOVEMBER_24)
    book.saved([hit()])
    other = sqlite3.connect(tmp_path / "potluck.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        book.write(store)
    book.saved([hit()])
    other.execute("ROLLBACK")
    other.close()
    book.write(store)
    assert [one.times for one in savings.since(store, "2026-11-24")[0]] == [2]
    store.close()


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(-5, 5), st.integers(0, 10**9)), max_size=20)
)
def test_sums_are_exact_however_they_are_written(rows: list[tuple[str, int, int]]) -> None:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    store = Connection(raw, lite=True, placeholder="?")
    for table in (Path(migrate.__file__).parent / "migrations" / "head.sql").read_text().split(";\n"):
        if "TABLE savings" in table or "TABLE checks" in table:
            store.query(table)
    book = Savings(lambda: NOVEMBER_24)
    for n, (target, requests, tokens) in enumerate(rows):
        book.saved([Saving("t", requests=requests, tokens_in=tokens, target=target)])
        if n % 3 == 0:
            book.write(store)
    book.write(store)
    saved, _ = savings.since(store, "")
    found = {one.target: (one.times, one.requests, one.tokens_in) for one in saved}
    wanted = {
        name: (len(mine), sum(r for _, r, _ in mine), sum(k for _, _, k in mine))
        for name in ("a", "b")
        if (mine := [row for row in rows if row[0] == name])
    }
    assert found == wanted
    store.close()
