from __future__ import annotations

import contextlib
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potluck.errors import ConfigError, Unauthorized
from potluck.store.database import Connection, Database
from potluck.store.keyring import Keyring
from potluck.store.keys import ANONYMOUS, Limits, create, revoke

Open = Callable[..., Keyring]


@pytest.fixture
def keyring(database: Database) -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def open(**options: bool) -> Keyring:
            ring = Keyring(database, **options)
            stack.callback(ring.close)
            return ring

        yield open


def test_a_key_is_recognised_in_every_header_clients_use(connection: Connection, keyring: Open) -> None:
    key, text = create(connection, "bob", Limits(concurrency=3), now=1.0)
    ring = keyring()
    for value in (f"Bearer {text}", f"bearer {text}", f"BEARER   {text} ", text, f" {text} "):
        assert ring.authenticate(value.encode()) == key
        assert ring.authenticate(value.encode()) == key, "the second time from memory"


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwdw==", b"pk-", b"\xff\x00", b"x" * 99_999]
)
def test_anything_else_is_refused(connection: Connection, keyring: Open, value: bytes) -> None:
    create(connection, "bob", Limits(), now=1.0)
    with pytest.raises(Unauthorized):
        keyring().authenticate(value)


def test_a_refusal_never_repeats_what_was_sent(connection: Connection, keyring: Open) -> None:
    _, text = create(connection, "bob", Limits(), now=1.0)
    with pytest.raises(Unauthorized) as refused:
        keyring().authenticate(f"Bearer {text}x".encode())
    assert text not in str(refused.value)


def test_a_revoked_key_stops_at_the_next_refresh_even_where_it_was_cached(
    connection: Connection, keyring: Open
) -> None:
    _, text = create(connection, "bob", Limits(), now=1.0)
    rings = [keyring(), keyring()]
    for ring in rings:
        ring.authenticate(text.encode())
    revoke(connection, "bob", now=2.0)
    for ring in rings:
        assert ring.refresh() is True
        assert len(ring) == 0
        with pytest.raises(Unauthorized):
            ring.authenticate(text.encode())


def test_a_new_key_works_after_the_next_refresh(connection: Connection, keyring: Open) -> None:
    ring = keyring()
    key, text = create(connection, "bob", Limits(), now=1.0)
    with pytest.raises(Unauthorized):
        ring.authenticate(text.encode())
    assert ring.refresh() is True
    assert ring.authenticate(text.encode()) == key
    assert ring.refresh() is False, "nothing changed since"


def test_other_writes_to_the_store_do_not_load_the_keys_again(connection: Connection, keyring: Open) -> None:
    ring = keyring()
    connection.write("INSERT INTO counters VALUES (?, ?, ?, ?)", [("1", "a", "{}", 1.0)])
    assert ring.refresh() is False


def test_everyone_is_let_in_only_while_there_never_was_a_key(connection: Connection, keyring: Open) -> None:
    ring = keyring(open_without_keys=True)
    assert ring.open
    assert ring.authenticate(b"") is ANONYMOUS
    assert ring.authenticate(b"Bearer sk-whatever") is ANONYMOUS
    create(connection, "bob", Limits(), now=1.0)
    ring.refresh()
    revoke(connection, "bob", now=2.0)
    ring.refresh()
    for one in (ring, keyring(open_without_keys=True)):
        assert not one.open
        with pytest.raises(Unauthorized):
            one.authenticate(b"")


def test_without_keys_nobody_is_let_in_unless_allowed(keyring: Open) -> None:
    with pytest.raises(Unauthorized, match="Authorization"):
        keyring().authenticate(b"")


def test_an_emptied_store_does_not_open_a_gateway_that_had_keys(
    connection: Connection, keyring: Open
) -> None:
    create(connection, "bob", Limits(), now=1.0)
    ring = keyring(open_without_keys=True)
    with connection.transaction():
        connection.query("DELETE FROM client_keys")
    assert ring.refresh() is True
    with pytest.raises(Unauthorized):
        ring.authenticate(b"")


def test_limits_that_cannot_be_read_refuse_the_key_and_no_other(
    connection: Connection, keyring: Open
) -> None:
    _, broken = create(connection, "bob", Limits(), now=1.0)
    key, text = create(connection, "eve", Limits(), now=1.0)
    connection.write("UPDATE client_keys SET limits = ? WHERE name = ?", [('{"requests_a_year": 1}', "bob")])
    ring = keyring()
    assert ring.authenticate(text.encode()) == key
    with pytest.raises(Unauthorized):
        ring.authenticate(broken.encode())


def test_the_last_known_keys_hold_while_the_store_cannot_be_read(
    connection: Connection, keyring: Open, caplog: pytest.LogCaptureFixture
) -> None:
    key, text = create(connection, "bob", Limits(), now=1.0)
    ring = keyring()
    with connection.transaction():
        connection.query("ALTER TABLE client_keys RENAME TO elsewhere")
    assert ring.refresh() is False
    assert ring.refresh() is False
    assert len(caplog.records) == 1, "said once, not every second"
    assert ring.authenticate(text.encode()) == key
    with connection.transaction():
        connection.query("ALTER TABLE elsewhere RENAME TO client_keys")
    revoke(connection, "bob", now=2.0)
    assert ring.refresh() is True


def test_a_store_that_cannot_be_read_at_the_start_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises((sqlite3.Error, ConfigError)):
        Keyring(Database.at(tmp_path / "empty.sqlite"))


def test_wrong_keys_and_odd_spellings_do_not_fill_the_memory(connection: Connection, keyring: Open) -> None:
    key, text = create(connection, "bob", Limits(), now=1.0)
    ring = keyring()
    tracemalloc.start()
    for number in range(20_000):
        with contextlib.suppress(Unauthorized):
            ring.authenticate(b"Bearer pk-%d" % number)
        spelling = b" " * (number % 400) + text.encode() + b" " * (number // 400)
        with contextlib.suppress(Unauthorized):
            assert ring.authenticate(spelling) is not None
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4_000_000
    assert ring.authenticate(text.encode()) == key


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=600))
def test_no_bytes_are_anything_but_refused(connection: Connection, keyring: Open, value: bytes) -> None:
    with pytest.raises(Unauthorized):
        keyring().authenticate(value)
