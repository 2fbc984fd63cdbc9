"""One claim and what was measured of it.

Rules: thresholds are chosen on `TUNE` and every figure of a claim comes from `REPORT`. Which half an item belongs to
is decided by a hash of its own text, so that new data is split the same way and no item moves when others come.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

TUNE, REPORT = 0, 1
RESAMPLES = 2_000
Say = Callable[[str], None]
Measure = Callable[[Path, Say], "Claim"]


class Claim(msgspec.Struct, kw_only=True):
    """`figures` are the numbers for scripts; `tables` (title, header, rows) and `notes` are for people."""

    name: str
    claim: str  # as the field says it
    data: str  # which data, and how much of it was reported on
    bar: str
    found: str  # one line: the measured number with its interval
    met: bool
    figures: Mapping[str, Any]
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    limits: Sequence[str] = ()  # where it does not hold


class Absent(Exception):
    """The data folder has not what this claim is measured on."""


def half(text: str) -> int:
    """TUNE or REPORT."""
    return zlib.crc32(text.encode()) & 1


def needed(folder: Path, *names: str) -> list[Path]:
    """The files, or Absent naming the first that is not there."""
    paths = [folder / name for name in names]
    for path in paths:
        if not path.exists():
            raise Absent(f"{path} is not there: this claim is measured on it")
    return paths


def interval(values: Sequence[float], *, seed: int = 7) -> tuple[float, float, float]:
    """Mean and its 95% interval, by percentile bootstrap (Efron 1979) over the items."""
    every = np.asarray(values, dtype=np.float64)
    if not len(every):
        return float("nan"), float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for n in range(RESAMPLES):  # one at a time: all index matrices at once would not fit for a large set
        means[n] = every[generator.integers(0, len(every), len(every))].mean()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(every.mean()), float(low), float(high)


def percent(found: tuple[float, float, float]) -> str:
    """`61.2% (59.0 to 63.3)`."""
    mean, low, high = (100 * value for value in found)
    return f"{mean:.1f}% ({low:.1f} to {high:.1f})"
