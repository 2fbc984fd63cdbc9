"""What the scripts of programs for the terminal share: run one as a person would, and read what it shows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from telling import DISH, HOME, sentence

BIN = Path(HOME) / "node_modules" / ".bin"
FOLDER = Path.home() / "kitchen"


def prepare() -> None:
    """A folder with the file that the tool is asked to show."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "dish.txt").write_text(DISH + "\n")


def run(argv: list[str], *, seconds: float = 60.0, **more: str) -> subprocess.CompletedProcess[str]:
    """Both outputs as text; the program has no input, so that it cannot wait for a person."""
    argv = [str(BIN / argv[0]), *argv[1:]]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        cwd=FOLDER,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
    )


def shown(done: subprocess.CompletedProcess[str]) -> str:
    """What the program printed as its answer. Raises AssertionError with the rest when it failed."""
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}"
    return done.stdout.strip()


def complaint(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """The sentence a person sees when it cannot work."""
    return sentence((done.stdout + done.stderr).strip()[-1500:], *words)
