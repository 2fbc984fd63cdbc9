"""What one walk down a plan has learnt: which targets are not worth trying, and what to say when none is left."""

from __future__ import annotations

import math

import msgspec

from potluck.errors import Exhausted, Invalid, NotUnderstood, PotluckError
from potluck.quota import money
from potluck.types import UNSENT, Attempt, Request, Target, Usage


class Progress(msgspec.Struct):
    """What one walk down a plan has learnt so far. `opens` is epoch seconds; inf = nothing opens by itself."""

    opens: float = math.inf
    only_quota: bool = True
    misread: NotUnderstood | None = None
    misread_by: str = ""
    overflow: int = 0  # the largest window that was too small
    sent: int = 0
    avoid: str = ""  # a target that has just failed this very answer


def nothing_left(request: Request, progress: Progress, now: float) -> PotluckError:
    """What a client is told when every target was tried or passed over. `now` is epoch seconds."""
    if progress.misread is not None:
        return Invalid(f"The provider refused this request: {progress.misread}")
    if progress.overflow and progress.opens == math.inf:
        error = Invalid(
            f"The prompt is longer than every window that could take it{_tokens(progress.overflow)}. "
            "Shorten the conversation, or add a key for a provider with a larger window.",
            param="messages",
        )
        error.code = "context_length_exceeded"
        return error
    wait = max(0.0, progress.opens - now) if progress.opens < math.inf else None
    return Exhausted(
        _explain(request, wait), retry_after=wait, quota=progress.only_quota and wait is not None
    )


def _tokens(window: int) -> str:
    """A window's size, where it is known."""
    return f" ({window} tokens)" if window > 1 else ""


def at_least(usage: Usage, request: Request) -> Usage:
    """The usage of a flawed answer; where the provider was silent, the prompt."""
    return usage if usage.input else Usage(request.tokens_in, usage.output, estimated=True)


def pointless(target: Target, request: Request, progress: Progress) -> bool:
    """Whether what is known by now says that this target cannot help."""
    if target.id == progress.avoid:
        return True
    if target.context and request.tokens_in > target.context:
        progress.overflow = max(progress.overflow, target.context)
        return True
    if 0 < target.context <= progress.overflow:
        return True
    if target.paid and (why := money.unpriced(request)):
        request.trace.attempts.append(Attempt(target.id, "full", why))
        return True
    # The same provider would not understand it any better; a second, different one is asked.
    return progress.misread_by == target.provider


def sent(request: Request) -> int:
    return sum(attempt.outcome not in UNSENT for attempt in request.trace.attempts)


def _explain(request: Request, wait: float | None) -> str:
    tried = "; ".join(spent(attempt) for attempt in request.trace.attempts[-6:])
    when = f" The first of them opens in {math.ceil(wait)} s." if wait is not None else ""
    return (
        f"No target could serve {request.model!r} now: {tried or 'none is set up'}.{when} "
        "`potluck quota` shows what is left; another free key (`potluck providers`) adds room."
    )


def spent(attempt: Attempt) -> str:
    """One attempt in a few words, for headers and error sentences."""
    return f"{attempt.target}={attempt.outcome}"
