"""Waiting for room instead of failing: `queue` is who waits, `line` who wants the same, `refusal` why not."""

from potluck.waiting.line import WEIGHTS
from potluck.waiting.queue import Bounds, Later, Queue, Timer

__all__ = ["WEIGHTS", "Bounds", "Later", "Queue", "Timer"]
