"""How each gateway is put in front of the same pretend providers, with the same keys and limits known to it.

Rules: the limits come from Potluck's catalog, in each system's own words; what a system has no word for it does not
get. Potluck and LiteLLM run four workers and share their counts (SQLite; Redis, as LiteLLM's documentation asks for
several instances); freellmpool has one process by design.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from bench.gateway.__main__ import free_port
from bench.gateway.install import Unavailable, ensure
from bench.gateway.proc import Process
from bench.gateway.systems import PEERS

from potluck import catalog, sim
from potluck.config import Provider
from potluck.types import Target

WORKERS = 4
POTLUCK = str(Path(sys.executable).with_name("potluck"))


@dataclass
class Running:
    """One gateway that answers. `beside` ends with it."""

    process: Process
    url: str
    model: str
    headers: dict[str, str] = field(default_factory=dict)
    beside: list[Process] = field(default_factory=list)
    port: int = 0

    def stop(self) -> None:
        for one in (self.process, *self.beside):
            one.stop()


def targets(origin: str, providers: Sequence[str]) -> list[Target]:
    """The chat targets that the pretend keys open, at the pretend addresses."""
    told = sim.environment(origin)
    known = {name: one for name, one in catalog.load(catalog.SHIPPED).items() if name in providers}
    environ = {told[name]["key_env"]: told[name]["key"] for name in known} | {
        "CLOUDFLARE_ACCOUNT_ID": "pretend-account"
    }
    choices = {
        name: Provider(base_url=told[name]["base_url"], key_env=told[name]["key_env"]) for name in known
    }
    found = catalog.targets(known, environ, never_bill=False, choices=choices)
    return [one for one in found if one.kind == "chat" and not one.paid]


def _limit(target: Target, unit: str, seconds: float) -> int:
    """The tightest limit of that unit over about that time; 0 = none."""
    amounts = []
    for quota in target.quotas:
        window = quota.window
        length = {"day": 86400.0}.get(window.kind, window.seconds)
        if quota.unit == unit and 0.5 * seconds <= length <= 1.5 * seconds:
            amounts.append(quota.amount)
    return min(amounts, default=0)


def potluck(work: Path, origin: str, providers: Sequence[str]) -> Running:
    port = free_port()
    told = sim.environment(origin)
    lines = [
        f"port = {port}",
        f'data_dir = "{work / "data"}"',
        f"workers = {WORKERS}",
        "sim = false",
        "never_bill = false",
    ]
    lines += ['log_level = "error"', "[local]", "enabled = false", "discover = false"]
    for name in providers:
        lines += [
            f"[providers.{name}]",
            f'base_url = "{told[name]["base_url"]}"',
            f'key_env = "{told[name]["key_env"]}"',
        ]
    (work / "potluck.toml").write_text("\n".join(lines) + "\n")
    env = dict(os.environ) | sim.variables(origin) | {"CLOUDFLARE_ACCOUNT_ID": "pretend-account"}
    argv = [POTLUCK, "serve", "--config", str(work / "potluck.toml")]
    process = Process(argv, cpu=set(), log=work / "log", env=env, cwd=work)
    running = Running(process, f"http://127.0.0.1:{port}/v1/chat/completions", "auto", port=port)
    _await(f"http://127.0.0.1:{port}/ready", process)
    return running


def _litellm_config(origin: str, providers: Sequence[str], redis_port: int) -> str:
    """Its own rate-limit settings: rpm and tpm of each model, counted in Redis, checked before a call."""
    models = []
    for one in targets(origin, providers):
        params: dict[str, object] = {
            "model": f"openai/{one.model}",
            "api_base": one.base_url,
            "api_key": one.key.reveal(),
        }
        for word, unit in (("rpm", "requests"), ("tpm", "tokens")):
            if limit := _limit(one, unit, 60.0):
                params[word] = limit
        models.append({"model_name": "pool", "litellm_params": params})
    config = {
        "model_list": models,
        # Its token counts come from its own tables: it would otherwise fetch tokenizers for model names it knows.
        "litellm_settings": {"request_timeout": 60, "telemetry": False, "disable_hf_tokenizer_download": True},
        "router_settings": {
            "routing_strategy": "usage-based-routing-v2", "enable_pre_call_checks": True,
            "redis_host": "127.0.0.1", "redis_port": redis_port, "num_retries": 2,
        },
        "general_settings": {"disable_spend_logs": True, "disable_error_logs": True},
    }  # fmt: skip
    return json.dumps(config)  # which is YAML too


def litellm(work: Path, origin: str, providers: Sequence[str]) -> Running:
    ensure("litellm")
    port, redis_port = free_port(), free_port()
    (work / "litellm.yaml").write_text(_litellm_config(origin, providers, redis_port))
    server = shutil.which("redis-server")
    if server is None:
        raise Unavailable(
            "LiteLLM's workers share their counts through Redis, and there is no redis-server here"
        )
    redis = Process(
        [server, "--port", str(redis_port), "--save", ""],
        cpu=set(),
        log=work / "redis.log",
        env=dict(os.environ),
        cwd=work,
    )
    env = dict(os.environ) | {
        "LITELLM_MASTER_KEY": "sk-bench", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION", "HF_HUB_OFFLINE": "1", "LITELLM_TELEMETRY": "False", "NO_DOCS": "True", "HOME": str(work),
    }  # fmt: skip
    argv = [
        str(PEERS / "litellm" / "bin" / "litellm"),
        "--config",
        str(work / "litellm.yaml"),
        "--host",
        "127.0.0.1",
    ]
    argv += ["--port", str(port), "--num_workers", str(WORKERS), "--telemetry", "False"]
    process = Process(argv, cpu=set(), log=work / "log", env=env, cwd=work)
    headers = {"authorization": "Bearer sk-bench"}
    running = Running(process, f"http://127.0.0.1:{port}/v1/chat/completions", "pool", headers, [redis])
    _await(f"http://127.0.0.1:{port}/health/liveliness", process, 120.0)
    return running


def freellmpool(work: Path, origin: str, providers: Sequence[str]) -> Running:
    ensure("freellmpool")
    port, lines = free_port(), []
    env = dict(os.environ) | {
        "FREELLMPOOL_CONFIG": str(work / "pool.toml"),
        "FREELLMPOOL_ALLOW_LOCAL_PROVIDERS": "1",
        "HOME": str(work),
    }
    grouped: dict[str, list[Target]] = {}
    for one in targets(origin, providers):
        grouped.setdefault(one.provider, []).append(one)
    for name, rows in grouped.items():
        key = f"BENCH_{name.upper()}_KEY"
        env[key] = rows[0].key.reveal()
        models = ", ".join(
            f'{{ name = "{one.model}", rpd = {_limit(one, "requests", 86400.0)} }}' for one in rows
        )
        lines += ["[[provider]]", f'id = "{name}"', f'label = "{name}"', 'adapter = "openai"']
        lines += [f'base_url = "{rows[0].base_url}"', f'key_env = "{key}"', f"models = [{models}]"]
    (work / "pool.toml").write_text("\n".join(lines) + "\n")
    argv = [str(PEERS / "freellmpool" / "bin" / "python"), "-m", "freellmpool", "proxy", "--port", str(port)]
    process = Process(argv, cpu=set(), log=work / "log", env=env, cwd=work)
    running = Running(process, f"http://127.0.0.1:{port}/v1/chat/completions", "auto")
    _await(f"http://127.0.0.1:{port}/v1/models", process, 60.0)
    return running


SYSTEMS = {"potluck": potluck, "litellm": litellm, "freellmpool": freellmpool}


def _await(url: str, process: Process, patience: float = 30.0) -> None:
    """Until it answers. Raises RuntimeError with its last words."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.ended is not None:
            break
        try:
            with urlopen(url, timeout=2.0):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} never answered: {process.last_words()}")


def kill_a_worker(process: Process) -> bool:
    """`kill -9` of one of its worker processes, if it has any."""
    for pid in process.tree()[1:]:
        if b"potluck.app.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            return True
    return False
