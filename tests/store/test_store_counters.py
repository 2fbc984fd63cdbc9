from __future__ import annotations

from potluck.store.counters import collect, forget, publish
from potluck.store.database import Connection

ASKED = ("requests_total", (("outcome", "ok"), ("target", "a/m")))


def test_a_worker_replaces_its_own_values_and_readers_add_up(connection: Connection) -> None:
    publish(connection, "w1", {ASKED: 3.0})
    publish(connection, "w1", {ASKED: 5.0})
    publish(connection, "w2", {ASKED: 2.0, ("up", ()): 1.0})
    assert collect(connection) == {ASKED: 7.0, ("up", ()): 1.0}
    assert collect(connection, but="w1") == {ASKED: 2.0, ("up", ()): 1.0}


def test_the_order_of_labels_makes_no_second_counter(connection: Connection) -> None:
    publish(connection, "w1", {("n", (("b", "2"), ("a", "1"))): 1.0})
    publish(connection, "w2", {("n", (("a", "1"), ("b", "2"))): 1.0})
    assert collect(connection) == {("n", (("a", "1"), ("b", "2"))): 2.0}


def test_a_start_begins_at_nothing(connection: Connection) -> None:
    publish(connection, "w1", {ASKED: 3.0})
    forget(connection)
    assert collect(connection) == {}
    publish(connection, "w1", {})
    assert collect(connection) == {}
