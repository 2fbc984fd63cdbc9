"""The process that holds the weights: loads them, serves them on loopback, and dies with the gateway.

Started by `supervisor.LocalModel` as `python -m potluck.local.child`; not meant for people. It prints one
line of JSON on stdout, `{"ready": true}` or `{"error": "..."}`, and then reads stdin until it ends. Its API
key comes from the environment, since arguments can be read by every user of the machine.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEY = "POTLUCK_LOCAL_KEY"
CANNOT = 3  # exit status: it will not work next time either
EMBEDDINGS_BATCH = 512  # tokens; the longest input of one embedding. Twice as much costs 200 MB more
_MOST_THREADS = 8  # beyond this, decoding small models is bound by memory, not by cores
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin ends; returns the exit status."""
    options = _options(argv)
    _die_with_parent(options.parent)
    # libgomp's threads spin at barriers; with one other busy process on the cores that stops decoding almost
    # wholly (measured 2026-11-23: 64 tokens not done in 30 s). It is read when libgomp loads: set it first.
    os.environ["GOMP_SPINCOUNT"] = "0"
    try:
        runtime = importlib.import_module("xllamacpp")
        key = os.environ.pop(KEY)
        servers = [runtime.Server(params) for params in _params(runtime, options, key)]
    except (ImportError, RuntimeError, KeyError, ValueError) as reason:
        _say({"error": f"{type(reason).__name__}: {reason}"})
        return CANNOT
    _say({"ready": True, "pid": os.getpid()})
    while sys.stdin.buffer.read(4096):
        pass
    del servers
    os._exit(0)  # native threads may be in the middle of an answer nobody waits for


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="potluck.local.child", description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens of one conversation")
    parser.add_argument("--parallel", type=int, required=True, help="answers at once")
    parser.add_argument("--embedder", default="", help="weights for embeddings; empty: none are served")
    parser.add_argument("--embedder-alias", default="")
    parser.add_argument("--embedder-port", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True, help="process to die with")
    return parser.parse_args(argv)


def _params(runtime: Any, options: argparse.Namespace, key: str) -> list[Any]:
    """What to serve. Embeddings have their own server: in the chat one, they wait for its last token."""
    chat = _base(runtime, options.model, options.alias, options.port, key)
    chat.n_parallel = options.parallel
    chat.n_ctx = options.context * options.parallel  # the context is divided among the answers
    chat.n_predict = options.context // 2  # a small model that never stops must not hold a place for a minute
    chat.cache_ram_mib = 64  # prompts kept for the next turn; the default is 8 GB
    if not options.embedder:
        return [chat]
    vectors = _base(runtime, options.embedder, options.embedder_alias, options.embedder_port, key)
    vectors.embedding = True
    vectors.pooling_type = runtime.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    vectors.embd_normalize = 2  # Euclidean norm: a dot product is the cosine
    vectors.n_parallel, vectors.n_ctx, vectors.cache_ram_mib = 1, EMBEDDINGS_BATCH, 0
    vectors.n_batch = vectors.n_ubatch = EMBEDDINGS_BATCH  # mean pooling needs an input in one batch
    return [chat, vectors]


def _base(runtime: Any, model: str, alias: str, port: int, key: str) -> Any:
    """What both servers share: loopback, a key, no web page, and a core left for the gateway."""
    params = runtime.CommonParams()
    params.model.path = model
    params.model_alias = {alias}  # a set: a text would become its letters
    params.hostnames, params.port = ["127.0.0.1"], port
    params.reuse_port = hasattr(socket, "SO_REUSEPORT")  # the parent holds the port for us
    params.api_keys = [key]
    params.ui = params.endpoint_slots = False  # the slots page would show prompts
    params.verbosity = -1
    params.cpuparams.n_threads = max(1, min(_MOST_THREADS, cores() - 1))
    params.cpuparams_batch.n_threads = max(1, min(_MOST_THREADS, cores()))
    return params


def cores() -> int:
    """Cores this process may use: its affinity, and the container's CPU share where there is one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, int(share) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return count


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill us when the parent dies.

    The end of stdin says so too, everywhere; but a sibling of ours that the parent forked keeps that pipe
    open, and nobody reads it while weights are loading.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)


def _say(line: dict[str, Any]) -> None:
    """The one line for the parent; native code that prints later must not disturb it."""
    print(json.dumps(line), flush=True)
    os.dup2(2, 1)


if __name__ == "__main__":
    sys.exit(main())
