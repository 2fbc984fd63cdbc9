"""Quota states in Valkey or Redis, shared by many hosts: one Lua script a step, by the server's clock.

Rules: a step is compare-and-set. The worker computes it from the states it knows, and the script writes only if
none of them has changed since; otherwise it hands back what is there and the step is computed again. So a step of
an uncontended quota is one round trip. All keys share one hash tag, so a step is atomic in a cluster too.

The server's clock decides what time it is, so that hosts whose clocks differ cannot overrun a window together: a
step computed for a moment further than `SKEW` from the server's is refused and computed again.

Data that was lost is not taken for quota that is free. An *epoch* marks the life of the data: a worker that
remembers another one (on disk, over restarts) knows that counts are gone, and they start over as
`state._presume` says. Where only the last seconds are gone (a restart from a snapshot) the newest state that any
worker remembers is written back. Keys have no expiry, and the server must not evict (`maxmemory-policy noeviction`).

Sources: Valkey documentation, "Scripting with Lua" (atomicity), EVALSHA, TIME; read 2026-11.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from potluck.quota.state import State, StoreLost

_log = logging.getLogger("potluck.quota")
R = TypeVar("R")

SKEW = 0.5  # seconds a step may be behind the server's clock
ROUNDS = 24  # how often a step is computed again when others were faster
REST = 1.0  # seconds before a server that failed is asked again: each try may cost its timeout
TIMEOUT = 1.0  # seconds

# KEYS: epoch, version, states…   ARGV: epoch, the step's time, skew, then for each state: known version, new blob.
# A state is stored as "<version>:<blob>". Answer: [word, seconds, microseconds, version, values…].
_STEP = """
local clock = redis.call('TIME')
local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then return {'epoch', clock[1], clock[2], epoch or ''} end
local same = math.abs(tonumber(clock[1]) + tonumber(clock[2]) / 1e6 - tonumber(ARGV[2])) <= tonumber(ARGV[3])
local found = {'changed', clock[1], clock[2], ''}
for i = 3, #KEYS do
  local value = redis.call('GET', KEYS[i]) or ''
  found[i + 2] = value
  if (string.match(value, '^%d+') or '0') ~= ARGV[2 * i - 2] then same = false end
end
if not same then found[4] = redis.call('GET', KEYS[2]) or '0' return found end
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], string.format('%.0f', tonumber(ARGV[2 * i - 2]) + 1) .. ':' .. ARGV[2 * i - 1])
end
return {'done', clock[1], clock[2], redis.call('INCR', KEYS[2])}
"""

# KEYS: epoch, version, states…   ARGV: epoch. The same answer, and nothing is written.
_READ = """
local clock = redis.call('TIME')
local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then return {'epoch', clock[1], clock[2], epoch or ''} end
local found = {'read', clock[1], clock[2], redis.call('GET', KEYS[2]) or '0'}
for i = 3, #KEYS do found[i + 2] = redis.call('GET', KEYS[i]) or '' end
return found
"""

# KEYS: epoch.   ARGV: the epoch this worker remembers ('' = none), a fresh one. An epoch is "<id>:<lost>".
_AGREE = """
local clock = redis.call('TIME')
local now = clock[1] .. '.' .. string.format('%06d', tonumber(clock[2]))
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[2] .. ':' .. (ARGV[1] == '' and '0' or now)
  redis.call('SET', KEYS[1], epoch)
elseif ARGV[1] ~= '' and ARGV[1] ~= epoch and string.match(epoch, ':0$') then
  epoch = string.gsub(epoch, ':0$', ':' .. now)
  redis.call('SET', KEYS[1], epoch)
end
return {'agreed', clock[1], clock[2], epoch}
"""


class ValkeyStore:
    """`remember` is a small file that keeps the epoch over restarts of this host; None for tests of forgetting.

    `wall` is the clock's `now`; `offset` is how far the server's clock is ahead of it, in seconds.
    """

    exclusive = False
    remote = True

    def __init__(
        self,
        url: str,
        wall: Callable[[], float] = time.time,
        *,
        remember: Path | None = None,
        name: str = "potluck",
    ) -> None:
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        self.url, self._wall, self._remember = url, wall, remember
        self._errors: tuple[type[BaseException], ...] = (RedisError, OSError, TimeoutError)
        self._client: Any = Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, protocol=3, max_connections=2
        )
        self._step, self._read = self._client.register_script(_STEP), self._client.register_script(_READ)
        self._agree = self._client.register_script(_AGREE)
        self._prefix = f"{{{name}}}:"
        self._keys = [f"{self._prefix}epoch", f"{self._prefix}version"]
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(State).decode
        self._known: dict[str, tuple[int, bytes]] = {}
        self._epoch = ""  # as agreed with the server in this process
        self._lost, self._rests_until = 0.0, 0.0
        self._seen = self._others = 0  # steps of all workers, and how often there were some of others
        self._last = ""  # the epoch before the server was found without it
        self.offset = 0.0
        self.trouble = ""  # why the server could not be asked last time

    def version(self) -> int:
        return self._others

    def time(self) -> float:
        """Epoch seconds by the server's clock, as well as a round trip tells it."""
        return self._wall() + self.offset

    async def step_async(self, ids: Sequence[str], change: Callable[[list[State], float], R]) -> R:
        """One atomic step: `change` gets the states and the time, and may be called several times."""
        keys = [*self._keys, *(self._prefix + id for id in ids)]
        for _ in range(ROUNDS):
            epoch = self._epoch or await self._agree_on_epoch()
            now = self.time()
            before = [self._known.get(id, (0, b"")) for id in ids]
            states = [self._state(id, blob) for id, (_, blob) in zip(ids, before, strict=True)]
            result = change(states, now)
            blobs = [self._encode(state) for state in states]
            args: list[Any] = [epoch, repr(now), SKEW]
            for (number, _), blob in zip(before, blobs, strict=True):
                args += (number, blob)
            answer = await self._ask(self._step, keys, args)
            if answer[0] == b"done":
                for id, (number, _), blob in zip(ids, before, blobs, strict=True):
                    self._known[id] = (number + 1, blob)
                return result
            self._heard(ids, answer)
        raise StoreLost(f"the quota store {self._place()} is contended: {ROUNDS} tries of one step failed")

    async def read_async(self, ids: Sequence[str]) -> list[State]:
        keys = [*self._keys, *(self._prefix + id for id in ids)]
        for _ in range(ROUNDS):
            epoch = self._epoch or await self._agree_on_epoch()
            answer = await self._ask(self._read, keys, [epoch])
            self._heard(ids, answer)
            if answer[0] == b"read":
                return [self._state(id, self._known.get(id, (0, b""))[1]) for id in ids]
        raise StoreLost(f"the quota store {self._place()} keeps losing its data")

    async def look(self) -> None:
        """Hear whether others have changed anything (`version`), and what time it is."""
        await self.read_async(())

    async def close_async(self) -> None:
        await self._client.aclose()

    def step(self, ids: Sequence[str], change: Callable[[list[State]], R]) -> R:
        raise RuntimeError("a store across a network must be awaited")

    def read(self, ids: Sequence[str]) -> list[State]:
        raise RuntimeError("a store across a network must be awaited")

    def close(self) -> None:
        """`close_async` closes the connection."""

    async def _ask(self, script: Any, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Raises StoreLost; a server that failed is left alone for a moment."""
        began = self._wall()
        if began < self._rests_until:
            raise StoreLost(f"the quota store {self._place()} cannot be reached: {self.trouble}")
        try:
            answer: list[Any] = await script(keys=keys, args=args)
        except self._errors as failed:
            self._rests_until, self.trouble = self._wall() + REST, str(failed) or type(failed).__name__
            raise StoreLost(f"the quota store {self._place()} cannot be reached: {self.trouble}") from failed
        self.trouble = ""
        ended = self._wall()
        server = int(answer[1]) + int(answer[2]) / 1e6
        if not began <= server - self.offset <= ended:  # the estimate is off by more than this round trip
            self.offset = server - (began + ended) / 2
        if answer[0] == b"epoch":
            self._epoch = ""
        elif answer[0] != b"agreed":
            ours = answer[0] == b"done"
            if int(answer[3]) != self._seen + ours:
                self._others += 1
            self._seen = int(answer[3])
        return answer

    async def _agree_on_epoch(self) -> str:
        """What this worker remembers against what the server has; see the module's rules."""
        remembered = self._recall()
        answer = await self._ask(self._agree, self._keys[:1], [remembered, os.urandom(8).hex()])
        epoch: str = answer[3].decode()
        self._epoch = epoch
        self._lost = float(epoch.partition(":")[2])
        if remembered and remembered != epoch:
            _log.warning(
                "The quota store %s has lost its data: counts that this host remembers are written back, others "
                "start over half spent (minute windows: spent).", self._place(),
            )  # fmt: skip
            # What we know is of the old life: a version of 0 makes it the newest there is.
            self._known = {id: (0, blob) for id, (_, blob) in self._known.items()}
        if self._remember is not None:
            self._remember.write_text(epoch)
        self._last = epoch
        return epoch

    def _recall(self) -> str:
        if self._last:
            return self._last
        try:
            return self._remember.read_text().strip() if self._remember is not None else ""
        except OSError:
            return ""

    def _heard(self, ids: Sequence[str], answer: Sequence[Any]) -> None:
        """Take over what the server has, unless it fell back behind what we know (restored from a snapshot)."""
        for id, value in zip(ids, answer[4:], strict=False):
            number, _, blob = value.partition(b":")
            there, (known, ours) = int(number or 0), self._known.get(id, (0, b""))
            self._known[id] = (there, ours if ours and (there < known or not there) else blob)

    def _state(self, id: str, blob: bytes) -> State:
        try:
            return self._decode(blob) if blob else State(lost=self._lost)
        except msgspec.MsgspecError as broken:
            _log.warning("The count of %s cannot be read (%s): starting it over.", id, broken)
            return State(lost=self.time())

    def _place(self) -> str:
        """Where it is, without the password a URL may hold."""
        return self.url.rpartition("@")[2].removeprefix("redis://").removeprefix("valkey://")
