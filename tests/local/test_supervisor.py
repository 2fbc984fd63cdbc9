"""The model's process is started, restarted at the same address, given up on in words, and never outlives us."""

from __future__ import annotations

import asyncio
import importlib
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from potluck.errors import ConfigError
from potluck.local import child
from potluck.local.registry import Model
from potluck.local.supervisor import LocalModel, Policy, State
from tests.local.conftest import TINY

_DIES = "print('{\"ready\": true}', flush=True); import sys; sys.exit('out of memory, say')"
_PARENT = """
import asyncio, sys
from potluck.local.registry import Model
from potluck.local.supervisor import LocalModel
async def main():
    async with LocalModel(Model('m', sys.argv[1])) as local:
        print(local.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def ask(local: LocalModel) -> str:
    """One real answer."""
    async with AsyncOpenAI(base_url=local.base_url, api_key=local.key.reveal(), max_retries=0) as openai:
        reply = await openai.chat.completions.create(
            model="x", messages=[{"role": "user", "content": "Hi"}], max_tokens=8
        )
    return reply.choices[0].message.content or ""


async def until(states: asyncio.Queue[State], wanted: State) -> None:
    """Wait for a state; the test's own time limit is what ends it otherwise."""
    async with asyncio.timeout(60):
        while await states.get() != wanted:
            pass


async def test_a_killed_model_comes_back_at_the_same_address_and_answers(smollm: Model) -> None:
    states: asyncio.Queue[State] = asyncio.Queue()
    async with LocalModel(smollm, on_state=states.put_nowait) as local:
        await until(states, "ready")
        endpoint, pid = local.endpoint, local.pid
        assert await ask(local)
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(states, "restarting")
        await until(states, "ready")
        assert (local.endpoint, local.restarts) == (endpoint, 1)
        assert local.pid != pid
        assert await ask(local)
    assert local.state == "stopped"


async def test_the_address_is_known_before_the_start_and_kept(smollm: Model) -> None:
    local = LocalModel(smollm, smollm, context=512, parallel=1)
    endpoint = local.reserve()
    began = time.monotonic()
    async with local:
        print(f"ready after {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < 20
        assert local.endpoint == endpoint
        assert endpoint.context == 512
        assert endpoint.port != endpoint.embeddings_port


async def test_the_child_dies_with_a_killed_parent(smollm: Model) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, smollm.path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    handle = os.pidfd_open(pid)
    try:
        parent.kill()
        await parent.wait()
        gone, _, _ = await asyncio.to_thread(select.select, [handle], [], [], 10)
        assert gone, "the child is still alive 10 s after its parent was killed"
    finally:
        os.close(handle)


async def test_the_end_of_stdin_alone_ends_the_child(smollm: Model) -> None:
    pipe = asyncio.subprocess.PIPE
    argv = [f"--model={smollm.path}", "--alias=m", "--port=0", "--context=256", "--parallel=1"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", child.__name__, *argv, f"--parent={os.getpid()}"),
        stdin=pipe,
        stdout=pipe,
        env={**os.environ, child.KEY: "k"},
    )
    assert process.stdout
    assert process.stdin
    assert b'"ready": true' in await asyncio.wait_for(process.stdout.readline(), 60)
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_a_file_that_is_no_model_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(TINY)
    states: list[State] = []
    local = LocalModel(Model("tiny", str(tmp_path / "tiny.gguf")), on_state=states.append)
    with pytest.raises(
        ConfigError, match=r"The local model tiny \(.*tiny\.gguf\) does not start: .*Try another"
    ):
        await local.start()
    assert states == ["starting", "failed"]
    assert "does not start" in local.why
    assert local.pid is None


async def test_a_child_that_never_gets_ready_is_given_up(smollm: Model) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(3600)")
    with pytest.raises(ConfigError, match=r"not ready after 0.3 s"):
        await LocalModel(smollm, command=sleeper, policy=Policy(start=0.3)).start()


async def test_one_that_keeps_dying_is_restarted_ever_later_and_then_left_alone(smollm: Model) -> None:
    slept: list[float] = []
    states: asyncio.Queue[State] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    policy = Policy(first_delay=1, longest_delay=3, quick_deaths=3)
    local = LocalModel(
        smollm, command=(sys.executable, "-c", _DIES), policy=policy, sleep=sleep, on_state=states.put_nowait
    )
    async with local:
        await until(states, "failed")
        assert slept == [1, 2, 3]
        assert "died 4 times in a row" in local.why
        assert "out of memory, say" in local.why


async def test_one_that_lived_long_is_forgiven_its_earlier_deaths(smollm: Model) -> None:
    slept: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            enough.set()
            await asyncio.Event().wait()

    times = iter(range(0, 10_000, 100))  # every look at the clock is 100 s after the last
    command = (sys.executable, "-c", _DIES)
    policy = Policy(first_delay=1, quick_deaths=2)
    async with LocalModel(
        smollm, command=command, policy=policy, sleep=sleep, monotonic=lambda: float(next(times))
    ):
        async with asyncio.timeout(60):
            await enough.wait()
    assert slept == [1, 1, 1, 1]


async def test_stopping_twice_and_stopping_what_never_started_is_fine(smollm: Model) -> None:
    local = LocalModel(smollm)
    await local.stop()
    await local.stop()
    assert local.state == "stopped"


def test_a_core_is_left_for_the_gateway_and_the_prompt_cache_is_bounded(smollm: Model) -> None:
    runtime = importlib.import_module("xllamacpp")
    argv = [f"--model={smollm.path}", "--alias=m", "--port=1", "--context=4096", "--parallel=2", "--parent=1"]
    chat, vectors = child._params(runtime, child._options([*argv, f"--embedder={smollm.path}"]), "k")
    assert chat.cpuparams.n_threads == max(1, min(8, child.cores() - 1))
    assert (chat.cache_ram_mib, chat.ui, chat.endpoint_slots) == (64, False, False)
    assert (chat.n_ctx, chat.n_parallel, chat.api_keys) == (8192, 2, ["k"])
    assert list(chat.hostnames) == ["127.0.0.1"]
    assert vectors.embedding
    assert not chat.embedding
