"""The part of `potluck doctor` that goes out: does each provider answer, take the key, and have the same time?

Rules: it asks for lists of models, never for an answer, so it spends no quota. A key is proved by asking twice:
a list that comes without a key, too, proves nothing. Names are looked up in threads of our own, because a name
server that stays silent holds a thread for far longer than a person waits, and must not hold the exit as well.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from potluck.errors import PotluckError
from potluck.types import Target
from potluck.upstream import Call, Origin, Timeouts, Upstream, header_lines
from potluck.upstream.origin import is_loopback
from potluck.upstream.proxy import Proxies

PATIENCE = 5.0  # seconds, for each of: all names, one answer
SKEW_SECONDS = 30.0  # a clock further off than this opens day quotas at the wrong time
_REFUSES = frozenset({400, 401, 403})  # some answer a bad key with 400

Level = Literal["ok", "warn", "fail"]
Lookup = Callable[[str], object]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `todo` says what to do, "" where nothing is needed."""

    level: Level
    subject: str
    says: str
    todo: str = ""


def look_up(host: str) -> object:
    """The addresses of a name. Raises OSError."""
    return socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)


async def hosts(
    targets: Iterable[Target],
    *,
    patience: float = PATIENCE,
    lookup: Lookup = look_up,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """One look at each provider there is a target for, all at once. Takes at most four times `patience`."""
    first: dict[str, Target] = {}
    for target in targets:
        first.setdefault(target.provider, target)
    lost = _lost(first.values(), patience, lookup, Proxies(environ))
    if len(lost) > 1 and len(lost) == len(first):
        says = f"none of the {len(lost)} providers' names can be looked up"
        return [Finding("fail", "internet", says, "Check the network, the name server, or set HTTPS_PROXY.")]
    found = [_unknown(name, first[name], why) for name, why in sorted(lost.items())]
    upstream = Upstream(proxies=environ)
    try:
        looks = [_look(upstream, target, patience, now) for name, target in first.items() if name not in lost]
        for findings in await asyncio.gather(*looks):
            found += findings
    finally:
        await upstream.close()
    return found


def _lost(targets: Iterable[Target], patience: float, lookup: Lookup, proxies: Proxies) -> dict[str, str]:
    """Providers whose name nobody knows, and why. A proxy looks names up itself."""
    asked: dict[str, threading.Thread] = {}
    failed: dict[str, str] = {}

    def ask(name: str, host: str) -> None:
        try:
            lookup(host)
        except OSError as error:
            failed[name] = error.strerror or str(error)

    for target in targets:
        origin = Origin.of(target.base_url)
        if not is_loopback(origin.host) and proxies.choose(origin) is None:
            thread = threading.Thread(target=ask, args=(target.provider, origin.host), daemon=True)
            asked[target.provider] = thread
            thread.start()
    until = time.monotonic() + patience
    for name, thread in asked.items():
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            failed[name] = f"no name server answered within {patience:g} s"
    return dict(failed)


def _unknown(name: str, target: Target, why: str) -> Finding:
    host = Origin.of(target.base_url).host
    return Finding(
        "fail", name, f"{host} cannot be looked up: {why}", "Check the network and the name server."
    )


async def _look(
    upstream: Upstream, target: Target, patience: float, now: Callable[[], float]
) -> list[Finding]:
    try:
        status, date = await _ask(upstream, target, patience, keyed=True)
        bare = 0
        if status == 200 and target.key:
            bare, _ = await _ask(upstream, target, patience, keyed=False)
    except PotluckError as error:
        todo = "Check the network, and base_url if you set one."
        return [Finding("fail", target.provider, f"cannot be reached: {error}", todo)]
    return [
        verdict(target.provider, status, bare, keyed=bool(target.key)),
        *clock(target.provider, date, now()),
    ]


async def _ask(upstream: Upstream, target: Target, patience: float, *, keyed: bool) -> tuple[int, bytes]:
    """Status and Date of the list of models. Raises TargetFailed."""
    path = urlsplit(target.base_url).path.rstrip("/") + target.behaviour.models_path
    lines = list(target.behaviour.headers)
    if keyed and target.key:
        lines.append(("authorization", f"Bearer {target.key.reveal()}"))
    seconds = Timeouts(connect=patience, head=patience, first=patience, stall=patience, total=patience)
    call = Call(Origin.of(target.base_url), path, header_lines(lines), method="GET", timeouts=seconds)
    exchange = await upstream.send(call)
    exchange.close()
    return exchange.status, exchange.header(b"date") or b""


def verdict(provider: str, status: int, bare: int, *, keyed: bool) -> Finding:
    """What two statuses say: `status` with the key, `bare` without it (0: not asked). Pure."""
    if status == 200 and not keyed:
        return Finding("ok", provider, "answers; no key is used")
    if status == 200 and bare in _REFUSES:
        return Finding("ok", provider, "answers, and takes the key")
    if status == 200:
        return Finding("ok", provider, "answers; the key cannot be checked without spending quota")
    if status in _REFUSES:
        todo = "Make a new key (`potluck providers` says where), and set it anew."
        return Finding("fail", provider, f"refuses the key (HTTP {status})", todo)
    if status == 429:
        return Finding("warn", provider, "says that too much was asked (HTTP 429)", "Try again in a minute.")
    if status >= 500:
        return Finding("warn", provider, f"has trouble of its own (HTTP {status})", "Try again later.")
    return Finding(
        "ok", provider, f"answers (HTTP {status}); the key cannot be checked without spending quota"
    )


def clock(provider: str, date: bytes, now: float) -> Iterator[Finding]:
    """A finding if the provider's Date (RFC 9110 §6.6.1) is far from `now`, epoch seconds. Pure."""
    try:
        skew = now - parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return
    if abs(skew) > SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        says = f"this machine's clock is {abs(skew):.0f} s {way} the provider's"
        yield Finding("warn", provider, says, "Set the clock (NTP): day quotas would open at the wrong time.")
