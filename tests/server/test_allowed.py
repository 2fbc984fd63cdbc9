"""A client key's list of models binds where its requests are sent, not only what they may ask for."""

from __future__ import annotations

from pathlib import Path

from potluck.store import keys
from tests.house import error_of, house


async def test_a_key_for_one_provider_reaches_no_other_through_auto_although_plans_are_reused(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, ["groq", "mistral"]) as home:
        connection = home.gateway.database.connect()
        sent = {}
        for name, models in (("wide", ()), ("narrow", ("auto", "groq/*")), ("none", ("auto", "gone-*"))):
            limits = keys.Limits(models=models, admin=True)
            _, text = keys.create(connection, name, limits, now=0.0)
            sent[name] = {"authorization": f"Bearer {text}"}
        connection.close()
        home.gateway.keyring.refresh()
        first = await home.chat("auto", headers=sent["wide"])
        assert first.headers["x-potluck-target"].startswith("mistral/")
        for _ in range(3):
            answer = await home.chat("auto", headers=sent["narrow"])
            assert answer.headers["x-potluck-target"].startswith("groq/")
        refused = await home.chat("auto", headers=sent["none"])
        assert refused.status_code == 403
        assert "may only use auto, gone-*" in error_of(refused)["message"]
