"""What one client key may use, kept by the same ledger that keeps the providers' quotas.

A client's limits are quotas of scope `client/<id>`: so they hold over restarts, over several workers, and
when hundreds of requests race, without a second set of counters.

Rules: `admit` before anything is sent, one ending of its `Pass` after (the first wins). A key without limits
costs one dict lookup. Money is a target of its own whose "tokens" are micro-USD, because what an answer costs
is known only once it is known who answered.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import msgspec

from potluck.errors import ClientLimited, Forbidden, TooLarge
from potluck.quota.ledger import Full, Hold, Ledger, Short
from potluck.store.keys import ClientKey, Limits
from potluck.types import Quota, Target, Unit, Usage, Window

_MINUTE = Window("rolling", 60.0)
_DAY = Window("day")  # of UTC
_FLIGHT = Window("concurrent")
_WAIT_FOR_FLIGHT = 1.0  # seconds: when a request in flight ends, nobody knows

Purse = Callable[[int], Awaitable[Hold]]  # micro-USD; raises Full

# field of Limits -> unit, window, what a person calls it
_QUOTAS: tuple[tuple[str, Unit, Window, str], ...] = (
    ("requests_per_minute", "requests", _MINUTE, "requests a minute"),
    ("requests_per_day", "requests", _DAY, "requests a day"),
    ("tokens_per_minute", "tokens", _MINUTE, "tokens a minute"),
    ("tokens_per_day", "tokens", _DAY, "tokens a day"),
    ("concurrency", "concurrent", _FLIGHT, "requests at a time"),
)


class Pass:
    """An admitted request. End it with `done`, or with `release` if nothing was sent for it.

    `purse` holds money for what turns out to cost some, `micro` more micro-USD each time; None where nothing limits it.
    """

    __slots__ = ("_money", "_more", "_purse", "_use")

    def __init__(self, use: Hold | None, money: Hold | None, purse: Purse | None = None) -> None:
        self._use, self._money, self._purse = use, money, purse
        self._more: list[Hold] | None = []  # None = ended: what is still under way may spend nothing

    @property
    def afford(self) -> Callable[[int], Awaitable[float]] | None:
        """What a request asks before it is sent to a target that costs money."""
        return None if self._purse is None else self._afford

    async def _afford(self, cost: int) -> float:
        if self._purse is None or self._more is None:
            return math.inf
        try:
            hold = await self._purse(cost)
        except Full as full:
            return full.retry_at
        if self._more is None:  # it ended while the store was asked
            hold.release()
            return math.inf
        self._more.append(hold)
        return 0.0

    def done(self, usage: Usage | None, cost: int = 0) -> None:
        """It was worked off: `usage` None = nobody knows, the estimate stands. `cost` is in micro-USD."""
        if self._use is not None:
            if usage is None:
                self._use.doubt(cut=False)  # whoever worked on it, this client's place is free
            else:
                self._use.settle(usage)
        if self._money is not None:
            if usage is None and not cost:
                self._money.doubt()
            else:
                self._money.settle(Usage(input=cost))
        self._give_back()  # after the truth is booked: money is never free in between

    def release(self) -> None:
        """Nothing was sent: give everything back, the request itself included."""
        for hold in (self._use, self._money):
            if hold is not None:
                hold.release()
        self._give_back()

    def _give_back(self) -> None:
        more, self._more = self._more or (), None
        for hold in more:
            hold.release()


FREE_PASS = Pass(None, None)


class ClientLimiter:
    """Admits the requests of client keys. Lives on the event loop of its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._targets: dict[str, tuple[Limits, Target | None, Target | None]] = {}
        self._shut: dict[str, tuple[float, str]] = {}

    def refuse_early(self, key: ClientKey) -> None:
        """Raises ClientLimited while a request limit known to be full is still full.

        For use before the body is read, so that a flood costs its client's key and hardly anything of ours.
        """
        shut = self._shut.get(key.id)
        if shut is not None:
            wait = shut[0] - self._ledger.time()
            if wait > 0:
                raise ClientLimited(shut[1], retry_after=wait)
            del self._shut[key.id]

    def admit(self, key: ClientKey, tokens_in: int = 0, tokens_out: int = 0, cost: int = 0) -> Pass:
        """Hold the estimate against every limit of the key, or none.

        `cost`: the most this may cost in micro-USD, 0 when it can only go where it is free. Raises
        ClientLimited (`retry_after` is true), or TooLarge when the estimate alone is beyond a limit.
        """
        use, money = self._find(key)
        if use is None and money is None:
            return FREE_PASS
        held = None
        try:
            if use is not None:
                held = self._ledger.reserve(use, tokens_in, tokens_out)
            # At least one, so that a key whose money is gone waits for tomorrow even for what may be free.
            if money is None:
                return Pass(held, None)
            return Pass(held, self._ledger.reserve(money, max(1, cost), 0), self._purse(money))
        except Full as full:
            if held is not None:
                held.release()
            raise self._limited(key, full) from None
        except BaseException:
            if held is not None:
                held.release()
            raise

    async def admit_async(self, key: ClientKey, tokens_in: int, tokens_out: int) -> Pass:
        """As `admit`, for when that raised `Short`: the ledger's store is across a network."""
        use, money = self._find(key)
        held = None
        try:
            if use is not None:
                held = await self._ledger.reserve_async(use, tokens_in, tokens_out)
            if money is None:
                return Pass(held, None)
            return Pass(held, await self._ledger.reserve_async(money, 1, 0), self._purse(money))
        except BaseException as error:
            if held is not None:
                held.release()
            if isinstance(error, Full):
                raise self._limited(key, error) from None
            raise

    def _purse(self, money: Target) -> Purse:
        async def purse(cost: int) -> Hold:
            try:
                return self._ledger.reserve(money, cost, 0)
            except Short:
                return await self._ledger.reserve_async(money, cost, 0)

        return purse

    def _find(self, key: ClientKey) -> tuple[Target | None, Target | None]:
        found = self._targets.get(key.id)
        if found is None or (found[0] is not key.limits and found[0] != key.limits):
            found = self._targets[key.id] = (key.limits, client_target(key), money_target(key))
            self._shut.pop(key.id, None)
        return found[1], found[2]

    def _limited(self, key: ClientKey, full: Full) -> ClientLimited | TooLarge:
        quota = full.quota
        label = f"{quota.amount} {quota.label}" if quota is not None else "limits"
        if math.isinf(full.retry_at):
            return TooLarge(
                f"The client key {key.name!r} allows {label}, and this request alone may need more. Send a "
                "shorter prompt, ask for fewer tokens (`max_tokens`), or ask for a higher limit."
            )
        wait = full.retry_at - self._ledger.time()
        if quota is not None and quota.unit == "concurrent":
            wait = _WAIT_FOR_FLIGHT
        seconds = max(1, math.ceil(wait))
        message = f"The client key {key.name!r} is at its limit of {label}. Try again in {seconds} s."
        if quota is not None and quota.unit == "requests" and wait > 0:
            self._shut[key.id] = (full.retry_at, message)
        return ClientLimited(message, retry_after=max(0.0, wait))


def client_target(key: ClientKey) -> Target | None:
    """The key's limits on requests, tokens and concurrency as a target of the ledger; None without any."""
    scope = f"client/{key.id}"
    quotas = tuple(
        Quota(scope=scope, unit=unit, amount=getattr(key.limits, field), window=window, label=label)
        for field, unit, window, label in _QUOTAS
        if getattr(key.limits, field)
    )
    return _target(scope, quotas) if quotas else None


def money_target(key: ClientKey) -> Target | None:
    """The key's money a day as a target on which an input token costs one micro-USD; None without a limit."""
    scope, amount = f"client/{key.id}", key.limits.usd_per_day
    if not amount:
        return None
    quota = Quota(scope=scope, unit="credits", amount=amount, window=_DAY, label="micro-USD a day")
    return msgspec.structs.replace(_target(f"{scope}/money", (quota,)), price_in=1.0)


def check_model(key: ClientKey, model: str) -> None:
    """Raises Forbidden when the key has a list of models and this one is not on it."""
    if not key.limits.allows(model):
        raise Forbidden(
            f"The client key {key.name!r} may not use {model!r}, only: {', '.join(key.limits.models)}.",
            param="model",
        )


def _target(id: str, quotas: tuple[Quota, ...]) -> Target:
    return Target(id=id, provider="client", model="", name="", base_url="", quotas=quotas)
