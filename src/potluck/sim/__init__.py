"""Pretend providers: strict loopback servers with the published quotas and the published errors.

Rules: this package imports no dialect, catalog, quota or surface of ours, and has its own tables, so that a
misreading shared by the gateway and its tests cannot pass. Start reading at `world.py`.
"""

from __future__ import annotations

from potluck.sim.answers import Options
from potluck.sim.faults import KINDS, Fault
from potluck.sim.house import environment, start_process, thread, variables
from potluck.sim.world import World, serve

__all__ = [
    "KINDS",
    "Fault",
    "Options",
    "World",
    "environment",
    "serve",
    "start_process",
    "thread",
    "variables",
]
