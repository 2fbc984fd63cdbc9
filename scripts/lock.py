"""Pins every dependency with its hashes: `make lock`.

`requirements/run.lock` is what `make run` installs, `requirements/dev.lock` what the tests need beside it. Both are
universal (any platform, Python 3.11 and newer), so that one lock serves every machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "run.lock": ("--extra", "local", "--group", "build"),
    "dev.lock": (
        "--extra",
        "local",
        "--extra",
        "valkey",
        "--extra",
        "semantic",
        "--extra",
        "savings",
        "--extra",
        "tokens",
        "--group",
        "build",
        "--group",
        "dev",
    ),
}


def main() -> None:
    for name, what in LOCKS.items():
        out = ROOT / "requirements" / name
        command = [sys.executable, "-m", "uv", "--quiet", "pip", "compile", "pyproject.toml", *what]
        command += [
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--output-file", str(out)]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 our own interpreter
        print(f"wrote {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
