"""The settings as each part of a gateway wants them."""

from __future__ import annotations

import msgspec

from potluck.config import Settings
from potluck.delivery import Patience
from potluck.router import AUTO, Profile, Wish
from potluck.server.protocol import DoorLimits
from potluck.server.willing import Willing, Wishes
from potluck.waiting import Bounds


def door_limits(settings: Settings) -> DoorLimits:
    return DoorLimits(
        head_bytes=settings.max_header_bytes,
        body_bytes=settings.max_body_bytes,
        connections=settings.max_connections,
        per_address=settings.max_connections_per_client,
        head_seconds=settings.timeouts.client_header,
        body_seconds=settings.timeouts.client_body,
    )


def bounds(settings: Settings) -> Bounds:
    """One worker's part of the places: workers do not know of each other's queues."""
    waiting, workers = settings.waiting, settings.workers
    return Bounds(
        max(1, waiting.max_waiting // workers),
        max(1, waiting.max_waiting_per_client // workers),
        settings.pacing.max_delay,
    )


def willing(settings: Settings) -> Willing:
    waiting = settings.waiting
    wishes = {name: Wishes(profile.max_wait, profile.priority) for name, profile in settings.profiles.items()}
    return Willing(waiting.max_wait, waiting.longest, waiting.keep_alive, wishes)


def patience(settings: Settings) -> Patience:
    limits = settings.timeouts
    return Patience(
        connect=limits.connect,
        first=limits.first_token,
        first_local=limits.first_token_local,
        answer=limits.answer,
        stall=limits.stall,
        total=limits.total,
    )


def profiles(settings: Settings) -> dict[str, Profile]:
    """The configuration's profiles as the router knows them."""
    made = {}
    for name, profile in settings.profiles.items():
        wish = AUTO.get(profile.model, Wish(exact=profile.model.lower()))
        wish = msgspec.structs.replace(
            wish, private=wish.private or profile.private, min_quality=profile.min_quality
        )
        made[name] = Profile(wish, profile.stages)
    return made
