"""The systems under test, one entry each: how to install, configure, start and address it.

Rules: every system gets the same upstream, one worker process and its fastest settings that a person would
run (no request log on the console, no database where it can do without). Versions come from `bench/peers.toml`.
A configuration file is `configs/<name>`, with $port, $upstream and $work filled in.
"""

from __future__ import annotations

import os
import secrets
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.gateway import wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ROOT / "bench" / ".peers"
WORK = ROOT / "bench" / ".work"


@dataclass(frozen=True)
class Site:
    """Where one run of one system lives: its folder, its port, and the port of the fake upstream."""

    work: Path
    port: int
    upstream: int

    def render(self, name: str, to: str | None = None) -> Path:
        """Write `configs/<name>` into the work folder with the ports filled in."""
        text = string.Template((HERE / "configs" / name).read_text())
        path = self.work / (to or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.substitute(port=self.port, upstream=self.upstream, work=self.work))
        return path


@dataclass(frozen=True)
class Launch:
    """What `prepare` makes of a site: the command, what it adds to the environment, what a request adds."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    model: str = wire.MODEL


@dataclass(frozen=True)
class System:
    """One gateway. `version` is a command that prints it; `patience` the seconds it may take to start."""

    name: str
    prepare: Callable[[Site], Launch]
    version: list[str]
    patience: float = 60.0
    thorough: bool = False  # also bodies, 1,000 streams and 100,000 requests


def _python(peer: str) -> str:
    return str(PEERS / peer / "bin" / "python")


def _nginx(site: Site) -> Launch:
    conf = site.render("nginx.conf")
    return Launch(["nginx", "-p", f"{site.work}/", "-c", str(conf), "-e", f"{site.work}/error.log"])


def _litellm(site: Site) -> Launch:
    conf = site.render("litellm.yaml")
    key = f"sk-{secrets.token_hex(24)}"
    program = str(PEERS / "litellm" / "bin" / "litellm")
    argv = [program, "--config", str(conf), "--host", "127.0.0.1", "--port", str(site.port)]
    env = {
        "LITELLM_MASTER_KEY": key,  # it refuses to start without one; checked in memory, as there is no database
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it downloads prices before it serves
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_TELEMETRY": "False",
        "NO_DOCS": "True",
    }
    headers = {"authorization": f"Bearer {key}"}
    return Launch([*argv, "--num_workers", "1", "--telemetry", "False"], env, headers)


def _portkey(site: Site) -> Launch:
    program = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "authorization": "Bearer bench",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{site.upstream}/v1",  # loopback is trusted by default
    }
    argv = ["node", str(program), f"--port={site.port}", "--headless"]
    return Launch(argv, {"NODE_ENV": "production"}, headers)


def _freellmpool(site: Site) -> Launch:
    catalog = site.render("freellmpool.toml")
    env = {
        "FREELLMPOOL_CONFIG": str(catalog),
        "FREELLMPOOL_ALLOW_LOCAL_PROVIDERS": "1",
        "BENCH_API_KEY": "bench",
        "HOME": str(site.work),  # its counters and health file
    }
    argv = [_python("freellmpool"), "-m", "freellmpool", "proxy", "--port", str(site.port)]
    return Launch(argv, env, model=f"bench/{wire.MODEL}")


def _potluck(site: Site) -> Launch:
    from bench.gateway.potluck import launch

    return launch(site)


_VERSION = "import importlib.metadata as m; print(m.version('{}'))"
_NODE_VERSION = "console.log(require('@portkey-ai/gateway/package.json').version)"

SYSTEMS = [
    System("nginx", _nginx, ["nginx", "-v"], thorough=True),
    System("potluck", _potluck, [sys.executable, "-c", _VERSION.format("potluck")], thorough=True),
    System("portkey", _portkey, ["node", "-e", _NODE_VERSION]),
    System("freellmpool", _freellmpool, [_python("freellmpool"), "-c", _VERSION.format("freellmpool")]),
    System("litellm", _litellm, [_python("litellm"), "-c", _VERSION.format("litellm")], patience=120.0),
]


def environment(launch: Launch) -> dict[str, str]:
    """The environment a system runs in: no proxies (all traffic is loopback), no keys of the person."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | launch.env
