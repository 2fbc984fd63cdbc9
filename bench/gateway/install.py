"""Installs what `bench/peers.toml` pins, once: a folder of its own for each peer under `bench/.peers`.

Rules: nothing is installed twice (a stamp holds what was asked for), nothing outside `bench/.peers` without
being root, and what cannot be had is an `Unavailable` with a sentence that says what to do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from bench.gateway.systems import PEERS, ROOT


class Unavailable(Exception):
    """A system cannot be measured here; the text is the reason, for the report."""


def ensure(name: str) -> None:
    """Make the peer `name` runnable; a name that `peers.toml` does not know needs nothing. Raises Unavailable."""
    wanted = tomllib.loads((ROOT / "bench" / "peers.toml").read_text()).get(name)
    if wanted is not None:
        {"pip": _pip, "npm": _npm, "apt": _apt}[wanted["kind"]](name, wanted)


def _run(argv: list[str], what: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"{what}: {error}") from error
    if done.returncode:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Unavailable(f"{what} failed: {tail}")


def _stamped(folder: Path, text: str) -> bool:
    stamp = folder / ".installed"
    return stamp.exists() and stamp.read_text() == text


def _pip(name: str, wanted: dict[str, Any]) -> None:
    folder, requirements = PEERS / name, ROOT / "bench" / str(wanted["requirements"])
    text = requirements.read_text()
    if _stamped(folder, text):
        return
    print(f"installing {name} {wanted['version']} …", flush=True)
    _run([sys.executable, "-m", "venv", str(folder)], f"making a venv for {name}")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "-r", str(requirements)], f"installing {name}")
    (folder / ".installed").write_text(text)


def _npm(name: str, wanted: dict[str, Any]) -> None:
    folder = PEERS / name
    dependencies = {wanted["package"]: wanted["version"]}
    asked = {"name": f"bench-{name}", "private": True, "dependencies": dependencies}
    text = json.dumps(asked | {"overrides": wanted.get("overrides", {})})
    for program, package in (("node", "nodejs"), ("npm", "npm")):
        _apt(program, {"package": package, "program": program})
    if _stamped(folder, text):
        return
    print(f"installing {name} {wanted['version']} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)  # npm keeps old versions where a new override would not
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(text)
    # Without scripts: the package runs as published, and nothing of it runs at install time.
    npm = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    _run(npm, f"installing {name}")
    (folder / ".installed").write_text(text)


def _apt(name: str, wanted: dict[str, Any]) -> None:
    package, program = str(wanted["package"]), str(wanted["program"])
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(
            f"{program} is not installed: `sudo apt-get install {package}`, then run this again"
        )
    print(f"installing {package} …", flush=True)
    _run(["apt-get", "update", "-qq"], "apt-get update")
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], f"installing {package}")
