"""The table of `make clients` and the folders of tests/clients say the same; what a script tells is judged right."""

from __future__ import annotations

import json
import re

import pytest
from bench.clients.__main__ import judged, passed, read
from bench.clients.table import CLIENTS, SCRIPTS, Client


def test_every_folder_of_a_client_is_in_the_table_and_the_reverse() -> None:
    folders = {path.name for path in SCRIPTS.iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert folders - {"node_modules"} == set(CLIENTS)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=lambda client: client.name)
def test_every_client_has_a_script_and_every_package_of_it_is_pinned(client: Client) -> None:
    assert client.script.exists()
    if client.kind == "npm":
        locked = json.loads(client.pins.read_text())["packages"]
        asked = json.loads((client.folder / "package.json").read_text())["dependencies"]
        assert client.package in asked
        for name, version in asked.items():
            assert re.fullmatch(r"\d+(\.\d+)+", version)
            assert locked[f"node_modules/{name}"]["version"] == version
        return
    pins = client.pins.read_text().split("\n")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+( ; .+)?", pin) for pin in pins if pin)
    assert f"{client.package}==" in client.pins.read_text()


def test_a_check_that_failed_once_or_was_never_told_has_failed() -> None:
    client = Client("one", "one", checks=("chat", "tools", "error"))
    said = "\n".join(
        [
            "noise of the client",
            '{"check": "chat", "ok": true, "detail": "soup"}',
            '{"check": "tools", "ok": true, "detail": ""}',
            '{"check": "tools", "ok": false, "detail": "no call"}',
        ]
    )
    result = judged(client, read(said), "")
    assert (result["chat"], result["tools"], result["error"]) == (True, False, False)
    assert "no call" in result["reason"]
    assert not passed(client, result)
