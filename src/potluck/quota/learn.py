"""What the ledger does with what a provider taught it: which count changes, and until when something is
closed.

Rules: a lower `remaining` than ours is adopted (someone else spends this key too). A higher one is adopted
only when the answer's own request is the only one in flight anywhere: the provider wrote the number before it
saw the others. A provider whose number was too good to be true (a refusal although it promised room) is not
believed upwards for a day. Whatever is learned is a `Fact`: applied to the shared state, inside one atomic
step.
"""

from __future__ import annotations

from collections.abc import Sequence

from potluck.quota import windows
from potluck.quota.counter import Counter, Fact
from potluck.quota.observe import HOUR, Reading, Verdict, matches
from potluck.quota.state import Rule, State, forgive, opens_at, settled, spend
from potluck.types import Window

BLIND = {"minute": 60.0, "day": HOUR, "month": 6 * HOUR, "once": windows.DAY}  # no such quota is known
PATIENCE = 7 * windows.DAY  # a one-time credit that is gone: look again in a week, it may have been topped up
WILD = 1000  # a limit this many times the catalog's is a misread header


def adopt(counter: Counter, reading: Reading, now: float, worker: str) -> bool:
    """Queue what a reading changes on this counter, if it speaks of it; True if there is news to tell at
    once.
    """
    rule, state = counter.rule, counter.state
    if not matches(rule.quota, reading.unit, reading.window) or rule.concurrent or rule.quota.own:
        return False
    news = False
    if reading.limit > 0:
        limit = reading.limit * rule.scale
        believable = limit <= rule.limit * WILD and (limit <= counter.allowed or state.distrust <= now)
        if limit != counter.allowed and believable:
            counter.facts.append(_limit(limit))
            counter.allowed, news = limit, True
    if reading.remaining < 0:
        return news
    theirs, ours = reading.remaining * rule.scale, counter.available(now, worker)
    slack = counter.allowed // 128
    if ours - theirs > slack or (theirs < ours and theirs * 8 < counter.allowed):
        counter.facts.append(_lower(theirs, reading.resets_at))
        return True
    alone = counter.held > 0 and not counter.crowded and len(state.leases) < 2
    if theirs - ours - counter.held > slack and alone and state.distrust <= now:
        counter.facts.append(_raise(theirs, worker))
        return True
    return news


def blamed(counters: Sequence[Counter], judged: Verdict, now: float, worker: str) -> Counter | None:
    """The counter a refusal is about: the unit it names, else the one with least room; None if unknown."""
    if not judged.means:
        return None
    fits = [c for c in counters if not c.rule.concurrent and not c.rule.quota.own]
    fits = [c for c in fits if _class(c.rule.quota.window) == judged.means]
    fits = [c for c in fits if c.rule.quota.unit == judged.unit] or ([] if judged.unit else fits)
    return min(fits, key=lambda c: c.available(now, worker) / (c.allowed or 1), default=None)


def close(counter: Counter, judged: Verdict, now: float) -> float:
    """Queue the closing of a quota the provider says is gone; returns until when."""
    until = _until(counter, judged, now)
    counter.closed, counter.expires = until, 0.0
    counter.facts.append(_closed(until, judged.why, now))
    return until


def _until(counter: Counter, judged: Verdict, now: float) -> float:
    """The window's own reset for a day or month, whatever retry hint came along: those are often seconds
    when the day is gone (facts/providers.md, section 1.7). A minute's hint is believed."""
    rule, wait = counter.rule, judged.seconds
    if judged.means == "once":
        return now + PATIENCE
    periodic = rule.window.kind in ("fixed", "day", "month", "signup_month")
    if judged.means == "minute" and wait:
        return now + wait
    if periodic:
        return rule.span(now)[0]
    if judged.means != "minute" and wait >= 60.0:
        return now + wait
    full = opens_at(counter.state, rule, 1, now)
    if counter.remaining + counter.free < 1 and full > now + 1:
        return full
    return now + (min(rule.window.seconds, 60.0) if judged.means == "minute" else HOUR)


def _class(window: Window) -> str:
    if window.kind == "once":
        return "once"
    seconds = windows.length(window)
    return "minute" if seconds <= 2 * HOUR else "day" if seconds <= 2 * windows.DAY else "month"


def _limit(limit: int) -> Fact:
    def fact(state: State, rule: Rule, now: float) -> None:
        state.limit, state.learned = (0 if limit == rule.limit else limit), now

    return fact


def _lower(theirs: int, resets_at: float) -> Fact:
    """Spends that are not ours, until the provider says it is whole again, at most a window."""

    def fact(state: State, rule: Rule, now: float) -> None:
        held = sum([lease.held for lease in state.leases.values()])
        foreign = rule.allowed(state, now) - settled(state, rule, now) - held - theirs
        until = rule.span(now)[0]
        if not rule.refill and resets_at > now:
            until = min(until, max(resets_at, now + 1.0))
        spend(state, rule, until, foreign)

    return fact


def _raise(theirs: int, worker: str) -> Fact:
    def fact(state: State, rule: Rule, now: float) -> None:
        if all(name == worker for name in state.leases):
            forgive(state, rule, max(0, rule.allowed(state, now) - theirs), now)

    return fact


def _closed(until: float, why: str, now: float) -> Fact:
    def fact(state: State, rule: Rule, _: float) -> None:
        state.closed, state.why = max(state.closed, until), why
        state.distrust = now + windows.DAY
        if state.limit > rule.limit and settled(state, rule, now) < state.limit * 0.9:
            state.limit = 0  # it had promised more than the catalog, and did not keep it

    return fact
