"""`make bench-evidence DATA=folder`: measures every claim, writes docs/evidence.md and bench/results/evidence.json.

`--only NAME` measures one and keeps what the file has of the others.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from bench.evidence.claim import Absent, Claim
from bench.evidence.page import page

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "evidence.json"
PAGE = ROOT / "docs" / "evidence.md"
CLAIMS = ("caching", "batching", "cascade", "together", "context")  # modules here, in the order of the page


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.evidence", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=CLAIMS, action="append")
    asked = parser.parse_args()
    kept: dict[str, Any] = (
        msgspec.json.decode(RESULTS.read_bytes()) if asked.only and RESULTS.exists() else {}
    )
    measured = 0
    for name in asked.only or CLAIMS:
        started = time.monotonic()
        say(f"{name} …")
        try:
            found: Claim = importlib.import_module(f"bench.evidence.{name}").measure(asked.data, say)
        except Absent as absent:
            say(f"{name}: not measured. {absent}")
            continue
        measured += 1
        kept[name] = msgspec.to_builtins(found)
        say(f"{name}: {'met' if found.met else 'MISSED'}: {found.found} [{time.monotonic() - started:.0f} s]")
        # Written after each claim: a run that is cut short keeps what it has measured.
        ordered = {each: kept[each] for each in CLAIMS if each in kept}
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
        PAGE.write_text(page([msgspec.convert(each, Claim) for each in ordered.values()]), encoding="utf-8")
    if not measured:
        say(
            f"Nothing could be measured with {asked.data}. Name a folder with the data: make bench-evidence DATA=…"
        )
    return 0 if measured else 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
