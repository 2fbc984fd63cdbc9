"""`python -m bench.clients [--only NAME,NAME]`: every client of the table against a running gateway.

Each check is the client's own word: its script prints a line of JSON for each. Results go to
`bench/results/clients.json`; a run of some clients leaves the others' results. Exit status 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.clients import install
from bench.clients.table import ALL, CLIENTS, ROOT, SCRIPTS, Client

RESULTS = ROOT / "bench" / "results" / "clients.json"
KEPT = (
    "PATH",
    "LANG",
    "TMPDIR",
    "TEST_SECONDS",
)  # of the caller's environment: a client must not find keys in it


@contextmanager
def gateway(work: Path, *, locked: bool) -> Iterator[dict[str, str]]:
    """A gateway with fresh records: where it listens, the key, and where its data are."""
    argv = [sys.executable, "-m", "bench.clients.house", str(work / "data"), *([] if locked else ["--open"])]
    with (work / "gateway.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError((work / "gateway.log").read_text()[-2000:])
            yield json.loads(line) | {"data": str(work / "data")}
        finally:
            process.terminate()
            process.wait(timeout=30)
            process.stdout.close()


def run(client: Client) -> dict[str, Any]:
    """One client, from its installation to its result."""
    began = time.monotonic()
    try:
        folder = install.home(client)
        found: dict[str, Any] = {"version": install.version(client, folder)}
    except (install.Unavailable, OSError, subprocess.CalledProcessError) as error:
        return {"version": "", **dict.fromkeys(client.checks, False), "seconds": 0.0, "reason": str(error)}
    with tempfile.TemporaryDirectory(prefix="potluck-client-") as scratch:
        work = Path(scratch)
        (work / "home").mkdir()
        (work / "data").mkdir()
        with gateway(work, locked=not client.open) as where:
            began = time.monotonic()
            lines, reason = ask(client, folder, work / "home", where)
        said = (work / "gateway.log").read_text()
        if "Traceback" in said:
            reason = f"the gateway logged: {said[-600:]} {reason}"
    return found | judged(client, lines, reason) | {"seconds": round(time.monotonic() - began, 1)}


def ask(client: Client, folder: Path, home: Path, where: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """The lines that the client's script printed, and what went wrong with the script itself."""
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    environ |= {"POTLUCK_URL": where["url"], "POTLUCK_KEY": where["key"], "POTLUCK_DATA": where["data"]}
    environ |= {
        "HOME": str(home),
        "CLIENT_HOME": str(folder),
        "PYTHONPATH": str(SCRIPTS),
        "NO_PROXY": "127.0.0.1",
    }
    environ["PATH"] = f"{install.node().parent}:{environ.get('PATH', '')}"
    if client.script.suffix == ".mjs":
        for each in (client.script, SCRIPTS / "telling.mjs"):  # Node looks for packages beside the script
            shutil.copy(each, folder / each.name)
        argv = [str(install.node()), str(folder / client.script.name)]
    else:
        argv = [install.python(folder) if client.kind == "pip" else sys.executable, str(client.script)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, cwd=home, env=environ, timeout=client.seconds
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return read(said), f"not done after {client.seconds:.0f} s"
    return read(done.stdout), f"{done.stderr.strip()[-600:]}" if done.returncode else ""


def read(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith('{"check"')]


def judged(client: Client, lines: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    """A check holds when the script reported it at least once and never as failed."""
    found: dict[str, Any] = {}
    for name in client.checks:
        told = [line["ok"] for line in lines if line["check"] == name]
        found[name] = bool(told) and all(told)
    extra = {line["check"]: line["ok"] for line in lines if line["check"] not in client.checks}
    details = [f"{line['check']}: {line['detail']}" for line in lines if not line["ok"]]
    shown = {line["check"]: line["detail"] for line in lines if line["ok"]}
    figures: dict[str, Any] = {}
    for line in lines:
        figures |= line.get("figures") or {}
    told_wrong = "; ".join([*details, *([reason] if reason else [])])
    return found | ({"also": extra} if extra else {}) | {"shown": shown, "reason": told_wrong} | figures


def passed(client: Client, result: dict[str, Any]) -> bool:
    return all(result.get(name) for name in client.checks) and all((result.get("also") or {}).values())


def table(results: dict[str, Any]) -> str:
    rows = [f"{'client':20} {'version':11} " + " ".join(f"{name:6}" for name in ALL) + "  seconds  also"]
    for name, result in results.items():
        marks = " ".join(f"{mark(result.get(each)):6}" for each in ALL)
        also = ", ".join(f"{key} {mark(ok)}" for key, ok in (result.get("also") or {}).items())
        if "tests" in result:
            also = f"{result.get('passed')} of {result.get('ran')} tests ({result.get('share', 0):.1%})"
        rows.append(f"{name:20} {result['version']:11} {marks} {result['seconds']:8.1f}  {also}")
        if result["reason"]:
            rows.append(f"    {result['reason'][:300]}")
    return "\n".join(rows)


def mark(value: Any) -> str:
    return "-" if value is None else "yes" if value else "NO"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.clients")
    parser.add_argument("--only", default="", help="names, separated by commas")
    wanted = [name for name in parser.parse_args().only.split(",") if name] or list(CLIENTS)
    if unknown := set(wanted) - set(CLIENTS):
        parser.error(f"no client is called {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    results = {name: run(CLIENTS[name]) for name in wanted}
    print(table(results))
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    merged = {name: each for name in CLIENTS if (each := results.get(name) or before.get(name))}
    RESULTS.write_text(json.dumps(merged, indent=1) + "\n")
    return 0 if all(passed(CLIENTS[name], result) for name, result in results.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
