"""Processes as the kernel counts them: start on one CPU, CPU time and memory of a whole tree, stop.

Rules: Linux only (`/proc`). CPU time is utime + stime of every process in the tree, with the children it has
already waited for, in seconds (ticks of 10 ms). Memory is the sum of VmRSS: pages shared between two
processes of a tree count twice, for all systems alike. Only processes started here are ever signalled.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_CPUS = sorted(os.sched_getaffinity(0))  # read once, before anything pins this process
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def gateway_cpu() -> set[int]:
    """The CPU the system under test gets for itself; empty = no pinning, where there is only one."""
    return {_CPUS[0]} if len(_CPUS) > 1 else set()


def other_cpu() -> set[int]:
    """The CPU that the fake upstream and the load generator share."""
    return {_CPUS[1]} if len(_CPUS) > 1 else set()


def gateway_cpu_busy() -> float:
    """Seconds that the gateway's CPU has worked so far, for whomever; 0 where nothing is pinned."""
    for line in Path("/proc/stat").read_text().splitlines() if gateway_cpu() else []:
        name, *fields = line.split()
        if name == f"cpu{_CPUS[0]}":  # proc(5): user nice system idle iowait irq softirq steal
            return sum(int(fields[i]) for i in (0, 1, 2, 5, 6)) * _TICK
    return 0.0


def allow_many_sockets() -> None:
    """Raise the limit of open files as far as this user may; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


class Process:
    """A program in its own process group, with its output in a file."""

    def __init__(
        self, argv: Sequence[str], *, cpu: set[int], log: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        self.log = log
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cpu)) if cpu else None,
            )

    @property
    def ended(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._popen.poll()

    def cpu_seconds(self) -> float:
        """CPU time of the tree so far."""
        return sum(_cpu(pid) for pid in self.tree())

    def rss_mb(self) -> float:
        """Resident memory of the tree in MB (10^6 bytes)."""
        return sum(_rss(pid) for pid in self.tree())

    def tree(self) -> list[int]:
        """This process and all its descendants."""
        parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
        found = [self._popen.pid]
        for pid in found:  # grows while it is walked
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def last_words(self, lines: int = 4) -> str:
        """The end of its output, for the reason why it did not start."""
        text = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in text[-lines:]) or "no output"

    def stop(self, patience: float = 10.0) -> None:
        """Ask the group to end, then insist; `patience` in seconds."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._popen.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self._popen.wait()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat after the command name (proc(5): field 3 is index 0); empty if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _cpu(pid: int) -> float:
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15]) * _TICK  # utime, stime, cutime, cstime


def _rss(pid: int) -> float:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE_MB if fields else 0.0
