"""A gateway that others can reach is never open: not without keys, nor when they are revoked or lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from potluck.app.compose import Gateway, database
from potluck.app.run import check_bind
from potluck.config import Settings
from potluck.errors import ConfigError, Unauthorized
from potluck.store import keys
from potluck.store.database import Database
from tests.house import error_of, house

EVERYWHERE = ["0.0.0.0", "::", "", "192.168.1.5", "potluck.lan"]


def key_in(store: Database, *, revoked: bool = False) -> str:
    connection = store.connect()
    key, text = keys.create(connection, "me", keys.Limits(), now=1.0)
    if revoked:
        keys.revoke(connection, key.id, now=2.0)
    connection.close()
    return text


@pytest.mark.parametrize("host", EVERYWHERE)
def test_listening_elsewhere_needs_a_key_that_still_works(host: str, tmp_path: Path) -> None:
    settings = Settings(host=host, data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="keys create"):
        check_bind(settings)
    key_in(database(settings), revoked=True)
    with pytest.raises(ConfigError, match="keys create"):
        check_bind(settings)


async def test_the_last_key_revoked_while_it_listens_elsewhere_closes_the_door(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], host="0.0.0.0") as home:
        mine = {"authorization": f"Bearer {key_in(home.gateway.database)}"}
        home.gateway.keyring.refresh()
        assert (await home.chat(headers=mine)).status_code == 200
        connection = home.gateway.database.connect()
        keys.revoke(connection, "me", now=3.0)
        connection.close()
        home.gateway.keyring.refresh()
        for headers in (mine, {}):
            refused = await home.chat(headers=headers)
            assert refused.status_code == 401
            error_of(refused)
        assert (await home.client.get("/potluck/v1/quota")).status_code == 401


async def test_keys_that_are_lost_with_their_store_do_not_open_it(tmp_path: Path) -> None:
    async with house(tmp_path, ["groq"], host="0.0.0.0") as home:
        key_in(home.gateway.database)
        home.gateway.keyring.refresh()
        connection = home.gateway.database.connect()
        with connection.transaction():
            connection.query("DELETE FROM client_keys")
        connection.close()
        home.gateway.keyring.refresh()
        assert (await home.chat()).status_code == 401


@pytest.mark.parametrize("host", EVERYWHERE)
async def test_a_worker_started_over_an_emptied_store_is_closed(host: str, tmp_path: Path) -> None:
    gateway = Gateway(Settings(host=host, data_dir=str(tmp_path)), {})
    try:
        assert not gateway.keyring.open
        with pytest.raises(Unauthorized):
            gateway.keyring.authenticate(b"")
    finally:
        await gateway.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.9.9.9"])
async def test_on_this_machine_it_is_open_until_a_key_was_made(host: str, tmp_path: Path) -> None:
    gateway = Gateway(Settings(host=host, data_dir=str(tmp_path)), {})
    try:
        assert gateway.keyring.open
        key_in(gateway.database, revoked=True)
        gateway.keyring.refresh()
        assert not gateway.keyring.open
    finally:
        await gateway.stop()
