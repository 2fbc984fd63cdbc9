"""How long a request is willing to wait for room, and how urgent it is: its headers, its profile, the settings.

    X-Potluck-Max-Wait: 30 | 30s | 1m30s     0 = do not wait at all
    X-Potluck-Priority: high | normal | low

Rules: the header wins over the profile, the profile over the settings. A client may ask for less than its key
allows; what goes beyond is cut to it and said in a response header, because a request is better served late.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec

from potluck.durations import duration
from potluck.errors import Invalid
from potluck.store.keys import ClientKey
from potluck.types import Priority, Request

_RANKS: tuple[Priority, ...] = get_args(Priority)  # the highest first


class Wishes(msgspec.Struct, frozen=True):
    """What a profile says; `max_wait` None = as the settings say."""

    max_wait: float | None = None
    priority: Priority = "normal"


class Willing(msgspec.Struct, frozen=True):
    """Seconds: `max_wait` of those who say nothing, `longest` that anyone may ask for, `keep_alive` between
    two comments to a streaming client that waits.
    """

    max_wait: float = 0.0
    longest: float = 300.0
    keep_alive: float = 10.0
    profiles: Mapping[str, Wishes] = {}

    def of(self, request: Request, sent: Mapping[bytes, bytes], key: ClientKey, began: float) -> Request:
        """The request with its patience. `began` is monotonic. Raises Invalid for a header that says nothing."""
        wait, rank = sent.get(b"x-potluck-max-wait"), sent.get(b"x-potluck-priority")
        profile = self.profiles.get(request.model)
        if wait is None and rank is None and profile is None and not self.max_wait:
            return request
        seconds: float | None = self.max_wait or None
        priority: Priority = "normal"
        if profile is not None:
            seconds = profile.max_wait if profile.max_wait is not None else seconds
            priority = profile.priority
        if wait is not None:
            seconds = _seconds(wait)
        if rank is not None:
            priority = _rank(rank)
        if _RANKS.index(priority) < _RANKS.index(key.limits.priority):
            priority = key.limits.priority
            request.trace.notes["priority"] = f"{priority} (the highest this key may ask for)"
        until = 0.0 if seconds is None else began + min(seconds, self.longest)
        return request.replace(wait_until=until, priority=priority)


def _seconds(text: bytes) -> float:
    seconds = duration(text.decode("latin-1"))
    if seconds is None:
        raise Invalid(
            f"X-Potluck-Max-Wait is {text[:40]!r}: write seconds, such as 30, or a duration, such as 1m30s.",
            param="X-Potluck-Max-Wait",
        )
    return seconds


def _rank(text: bytes) -> Priority:
    for priority in _RANKS:
        if text.strip().lower() == priority.encode():
            return priority
    raise Invalid(
        f"X-Potluck-Priority is {text[:40]!r}: it is one of {', '.join(_RANKS)}.", param="X-Potluck-Priority"
    )
