"""`potluck serve` from the outside: it says where it listens, answers its own question, and ends when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys

from potluck.cli.serve import with_options
from potluck.config import Settings
from tests.cli.terminal import Terminal


async def test_the_demo_says_where_it_listens_answers_itself_and_ends_on_sigterm(terminal: Terminal) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "potluck", "serve", "--demo", "--sim", "--no-local", "--port", "0"),
        cwd=terminal.home,
        env={key: value for key, value in terminal.environ.items() if key != "PYTHONWARNINGS"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            said = (await process.stderr.readuntil(b"Ask it yourself")).decode()
            process.send_signal(signal.SIGTERM)
            answer = (await process.stdout.read()).decode()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            await process.communicate()
    assert re.search(r"listens at http://127\.0\.0\.1:[1-9]\d+", said)
    assert "pretend" in said
    assert re.search(r"tokens in .* s · .* left", said)
    assert answer.strip()


async def test_listening_to_the_network_without_a_client_key_is_refused(terminal: Terminal) -> None:
    said = await terminal.run("serve", "--host", "0.0.0.0", "--port", "0", "--no-local")
    assert said.status == 1
    assert "potluck keys create" in said.err


async def test_a_port_that_is_taken_is_a_sentence(terminal: Terminal) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = await terminal.run("serve", "--port", str(port), "--no-local")
    assert said.status == 1
    assert f"127.0.0.1:{port}" in said.err


def test_the_command_line_wins_over_the_file_and_says_nothing_where_it_was_silent() -> None:
    mine = Settings(port=5, workers=3, sim=True)
    assert with_options(mine, None, None, None, sim=False, local=True) == mine
    changed = with_options(mine, "::1", 0, 1, sim=False, local=False)
    assert (changed.host, changed.port, changed.workers, changed.sim) == ("::1", 0, 1, True)
    assert not changed.local.enabled
    assert not changed.local.discover
