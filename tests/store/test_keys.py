from __future__ import annotations

import contextlib
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.errors import Invalid, NotFound
from potluck.store.database import Connection, Database
from potluck.store.keys import ClientKey, Limits, create, list_keys, revoke

LIMITS = Limits(requests_per_minute=5, usd_per_day=1_000_000, models=("auto*",))


def test_a_key_is_shown_once_and_only_its_digest_is_stored(
    database: Database, connection: Connection
) -> None:
    key, text = create(connection, "bob", LIMITS, now=100.0)
    assert text.startswith("pk-")
    assert len(text) == 3 + 43, "32 random bytes as base64"
    row = connection.query("SELECT * FROM client_keys")[0]
    assert hashlib.sha256(text.encode()).hexdigest() in row
    assert text not in repr(row)
    assert text not in repr(key)
    assert text.startswith(key.prefix)
    assert len(key.prefix) == 10


def test_a_key_is_listed_with_its_limits(connection: Connection) -> None:
    key, _ = create(connection, "bob", LIMITS, now=100.0)
    later, _ = create(connection, "eve", Limits(), now=200.0)
    assert list_keys(connection) == [key, later]
    assert key == ClientKey(id=key.id, name="bob", prefix=key.prefix, created_at=100.0, limits=LIMITS)


def test_no_two_keys_are_alike(connection: Connection) -> None:
    made = [create(connection, f"k{number}", Limits(), now=1.0) for number in range(20)]
    assert len({text for _, text in made}) == len({key.id for key, _ in made}) == 20


def test_an_id_can_be_typed_on_a_command_line(connection: Connection) -> None:
    key, _ = create(connection, "bob", Limits(), now=1.0, random=lambda _: "-" * 43)
    assert key.id.isalnum()


@pytest.mark.parametrize("field", ["id", "name", "prefix"])
def test_a_key_is_revoked_by_its_id_its_name_or_its_prefix(connection: Connection, field: str) -> None:
    key, _ = create(connection, "bob", Limits(), now=100.0)
    other, _ = create(connection, "eve", Limits(), now=100.0)
    revoked = revoke(connection, getattr(key, field), now=300.0)
    assert revoked == msgspec.structs.replace(key, revoked_at=300.0)
    assert sorted(list_keys(connection), key=lambda one: one.name) == [revoked, other]


def test_revoking_what_is_not_there_says_where_to_look(connection: Connection) -> None:
    create(connection, "bob", Limits(), now=100.0)
    revoke(connection, "bob", now=200.0)
    for which in ("bob", "eve", ""):
        with pytest.raises(NotFound, match="potluck keys list"):
            revoke(connection, which, now=300.0)


def test_a_name_that_means_two_keys_revokes_neither(connection: Connection) -> None:
    first, _ = create(connection, "bob", Limits(), now=100.0)
    create(connection, first.id, Limits(), now=100.0)
    with pytest.raises(Invalid, match="several"):
        revoke(connection, first.id, now=200.0)
    assert all(not key.revoked_at for key in list_keys(connection))


def test_a_name_in_use_is_refused_and_free_again_after_revoking(connection: Connection) -> None:
    create(connection, "bob", Limits(), now=100.0)
    with pytest.raises(Invalid, match="exists"):
        create(connection, "bob", Limits(), now=101.0)
    revoke(connection, "bob", now=102.0)
    create(connection, "bob", Limits(), now=103.0)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 101, "\x00"])
def test_a_name_nobody_could_read_is_refused(connection: Connection, name: str) -> None:
    with pytest.raises(Invalid, match="name"):
        create(connection, name, Limits(), now=1.0)


def test_a_negative_limit_is_refused_and_named(connection: Connection) -> None:
    with pytest.raises(Invalid, match="tokens_per_day"):
        create(connection, "bob", Limits(tokens_per_day=-1), now=1.0)
    assert list_keys(connection) == []


def test_every_change_has_a_number_of_its_own(database: Database, connection: Connection) -> None:
    create(connection, "bob", Limits(), now=1.0)
    with contextlib.closing(database.connect()) as other:
        create(other, "eve", Limits(), now=1.0)
        revoke(other, "bob", now=2.0)
    numbers = [row[0] for row in connection.query("SELECT revision FROM client_keys ORDER BY revision")]
    assert numbers == [2, 3]


@pytest.mark.parametrize(
    ("models", "name", "allowed"),
    [
        ((), "anything", True),
        (("auto*",), "auto:code", True),
        (("auto*",), "llama-3.3-70b", False),
        (("llama-*", "auto"), "llama-3.3-70b", True),
        (("auto",), "AUTO", False),
        (("groq/*",), "groq/openai/gpt-oss-120b", True),
    ],
)
def test_an_allow_list_is_read_as_globs(models: tuple[str, ...], name: str, allowed: bool) -> None:
    assert Limits(models=models).allows(name) is allowed


@given(st.from_type(Limits))
def test_limits_survive_being_stored(limits: Limits) -> None:
    assert msgspec.json.decode(msgspec.json.encode(limits), type=Limits) == limits
