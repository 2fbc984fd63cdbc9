"""Whether this machine can run the local model at all, asked before anything native is loaded.

The runtime is compiled for AVX2; on an older x86 processor importing it ends in an illegal instruction.
"""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def unavailable(
    runtime: str = "xllamacpp", cpuinfo: Path = _CPUINFO, machine: str = platform.machine()
) -> str:
    """Why the local model cannot run here, as a sentence for people; empty if nothing is known against it."""
    if importlib.util.find_spec(runtime) is None:
        return (
            f"The local model is unavailable: the package {runtime} is not installed. "
            "Install it with `pip install 'potluck[local]'`; without it, Potluck serves "
            "the providers you have keys for."
        )
    if machine in {"x86_64", "AMD64"} and not _has_avx2(cpuinfo):
        return (
            "The local model is unavailable: this processor has no AVX2, which the model runtime needs. "
            "Potluck serves the providers you have keys for, and model servers running on this machine."
        )
    return ""


def _has_avx2(cpuinfo: Path) -> bool:
    """What the kernel says; where it says nothing (not Linux), yes: the child's death would be explained."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    return not flags or "avx2" in flags[0]
