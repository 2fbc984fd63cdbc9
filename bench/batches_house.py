"""What the bench of batches runs against: a provider that counts its questions, and the real gateway command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "bench" / ".work" / "batches"
DELAY = 0.05  # seconds the provider takes: a quick one, so that ours is not hidden behind it
Figures = dict[str, Any]

POT = """
id = "pot"
name = "A pot without a bottom"
category = "dedicated"
base_url = "{url}"
key_env = ["POT_KEY"]
trains_on_data = false

[[quota]]
unit = "requests"
amount = 100000000
window = "day"
reset = "utc_midnight"
scope = "account"
basis = "assumed"
source = "ME"

[[model]]
id = "stew"
name = "stew"
source = "ME"
specialities = ["general"]
quality = 2

[sources.ME]
where = "bench/batches_house.py"
seen = 2026-11-24
"""


class Provider:
    """Answers every question after DELAY and counts how often each was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.asked[body["messages"][-1]["content"]] += 1
                await asyncio.sleep(DELAY)
                said = json.dumps(_answer(body["messages"][-1]["content"])).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(said), said)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _answer(text: str) -> Figures:
    message = {"role": "assistant", "content": f"to {text}"}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "stew",
        "choices": choices,
        "usage": usage,
    }


class Gateway:
    """The real command in a process of its own, on one port over all its lives."""

    def __init__(self, provider: str) -> None:
        shutil.rmtree(WORK, ignore_errors=True)
        (WORK / "providers").mkdir(parents=True)
        (WORK / "providers" / "pot.toml").write_text(POT.format(url=provider))
        self.port = _free_port()
        (WORK / "potluck.toml").write_text(
            f'port = {self.port}\ndata_dir = "{WORK}"\nproviders_dir = "{WORK}/providers"\nlog_level = "warning"\n'
            "[local]\nenabled = false\ndiscover = false\n"
        )
        self.client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False
        )

    async def start(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("POTLUCK_")}
        argv = [sys.executable, "-m", "potluck", "serve", "--config", str(WORK / "potluck.toml")]
        with (WORK / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *argv, env=environ | {"POT_KEY": "k"}, start_new_session=True, stdout=log, stderr=log
            )
        async with asyncio.timeout(30):
            while True:
                try:
                    if (await self.client.get("/ready")).status_code == 200:
                        return
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)

    async def end(self, how: signal.Signals) -> None:
        os.killpg(self.process.pid, how)
        await self.process.wait()

    async def submit(self, name: str, lines: int) -> str:
        """A batch of lines whose questions occur nowhere else: its id."""
        rows = [
            {
                "custom_id": f"{name}-{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "stew", "messages": [{"role": "user", "content": f"{name} {n}"}]},
            }
            for n in range(lines)
        ]
        content = "\n".join(json.dumps(row) for row in rows).encode()
        form = {"file": ("in.jsonl", content)}
        file = (await self.client.post("/v1/files", data={"purpose": "batch"}, files=form)).json()["id"]
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return str((await self.client.post("/v1/batches", json=body)).json()["id"])

    async def batch(self, id: str) -> Figures:
        found: Figures = (await self.client.get(f"/v1/batches/{id}")).json()
        return found

    async def until(self, id: str, done: int = 0, status: str = "") -> Figures:
        """The batch when so many of its lines are answered, or it has come into this status."""
        while True:
            found = await self.batch(id)
            answered = found["request_counts"]["completed"]
            if (status and found["status"] == status) or (done and answered >= done):
                return found
            await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
