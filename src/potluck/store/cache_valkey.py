"""Stored answers in Valkey or Redis, shared by many hosts; the latest also in this process's memory.

Rules: the server must not evict (quotas live there too), so that the cache bounds itself: each entry expires by itself,
and past `max_bytes` the least used go, in the script that stores. What one host drops, the others forget within
`LOOK_EVERY`. A server that cannot be reached is a miss and is left alone for a moment.
Keys share one hash tag, so that each script is atomic in a cluster too.
Source: Valkey documentation, "Scripting with Lua", ZADD, PEXPIREAT; read 2026-11.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from potluck.store.answers import Entry, Stats, Which
from potluck.store.cache_file import decode, encode

LOOK_EVERY = 1.0  # seconds between two looks at what others dropped
TIMEOUT = 1.0  # seconds
REST = 1.0  # seconds before a server that failed is asked again
MEMORY = 32 * 1024 * 1024  # bytes of answers kept in this process

_log = logging.getLogger("potluck.cache")

# KEYS: entry, used, sizes, total, meant, number.
# ARGV: key, blob, size, expiry in milliseconds, now, most bytes, meant (0 or 1), prefix.
# `used` is sorted by last use; members whose entry has expired go when they are met.
_PUT = """
local before = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
local total = redis.call('INCRBY', KEYS[4], tonumber(ARGV[3]) - before)
redis.call('ZREM', KEYS[5], ARGV[1])
if ARGV[7] == '1' then redis.call('ZADD', KEYS[5], redis.call('INCR', KEYS[6]), ARGV[1]) end
local rounds = 0
while total > tonumber(ARGV[6]) and rounds < 1000 do
  local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
  if not oldest then break end
  total = redis.call('DECRBY', KEYS[4], tonumber(redis.call('HGET', KEYS[3], oldest) or '0'))
  redis.call('HDEL', KEYS[3], oldest)
  redis.call('ZREM', KEYS[5], oldest)
  redis.call('DEL', ARGV[8] .. oldest)
  rounds = rounds + 1
end
return total
"""

# KEYS: used, sizes, total, meant, epoch. ARGV: prefix, keys…
_DROP = """
local gone = 0
for i = 2, #ARGV do
  gone = gone + redis.call('DEL', ARGV[1] .. ARGV[i])
  redis.call('DECRBY', KEYS[3], tonumber(redis.call('HGET', KEYS[2], ARGV[i]) or '0'))
  redis.call('HDEL', KEYS[2], ARGV[i])
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[4], ARGV[i])
end
redis.call('INCR', KEYS[5])
return gone
"""


class ValkeyAnswers:
    """Raises ImportError where the client is not installed. `put` and `count` return at once."""

    def __init__(
        self, url: str, *, max_bytes: int, name: str = "potluck-cache", memory: int = MEMORY
    ) -> None:
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        self._errors: tuple[type[BaseException], ...] = (RedisError, OSError, TimeoutError)
        self._client: Any = Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, protocol=3, max_connections=4
        )
        self._max_bytes, self._memory = max_bytes, memory
        self._put, self._drop = self._client.register_script(_PUT), self._client.register_script(_DROP)
        start = f"{{{name}}}:"
        self._entries = f"{start}e:".encode()
        self._used, self._sizes, self._total = f"{start}used", f"{start}sizes", f"{start}total"
        self._by_number, self._number, self._epoch_key = f"{start}meant", f"{start}number", f"{start}epoch"
        self._counts = f"{start}counts"
        self._near: OrderedDict[bytes, Entry] = OrderedDict()
        self._near_bytes = 0
        self._epoch, self._looked = b"", float("-inf")
        self._rests_until, self._failing = 0.0, False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def get(self, key: bytes, now: float) -> Entry | None:
        if not 0.0 <= now - self._looked < LOOK_EVERY:
            self._looked = now
            epoch = await self._try(lambda: self._client.get(self._epoch_key)) or b""
            if epoch != self._epoch:
                self._epoch, self._near_bytes = epoch, 0
                self._near.clear()
        entry = self._near.get(key)
        if entry is None:
            blob = await self._try(lambda: self._client.get(self._entries + key))
            try:
                entry = decode(blob) if blob else None
            except msgspec.MsgspecError:
                return None  # of another version: it expires
            if entry is not None:
                self._remember(entry)
        else:
            self._near.move_to_end(key)
        if entry is None or entry.expires <= now:
            return None
        self._later(lambda: self._client.zadd(self._used, {key: now}, xx=True))
        return entry

    def put(self, entry: Entry, now: float) -> None:
        self._remember(entry)
        keys: list[Any] = [
            self._entries + entry.key,
            self._used,
            self._sizes,
            self._total,
            self._by_number,
            self._number,
        ]
        args: list[Any] = [
            entry.key,
            encode(entry),
            entry.size,
            int(entry.expires * 1000),
            now,
            self._max_bytes,
            int(bool(entry.vector)),
            self._entries,
        ]
        self._later(lambda: self._put(keys=keys, args=args))

    def count(self, outcome: str) -> None:
        self._later(lambda: self._client.hincrby(self._counts, outcome, 1))

    async def drop(self, which: Which) -> int:
        """How many went. Raises the client's errors: who asks must know that it did not happen."""
        await self.written()
        gone = 0
        keys = [self._used, self._sizes, self._total, self._by_number, self._epoch_key]
        going = [key for key, entry in await self._everything() if entry is None or which.matches(entry)]
        for start in range(0, len(going) or 1, 1000):
            gone += await self._drop(keys=keys, args=[self._entries, *going[start : start + 1000]])
        self._near.clear()
        self._near_bytes = 0
        return gone

    async def stats(self) -> Stats:
        """Raises the client's errors."""
        await self.written()
        found = [entry for _, entry in await self._everything() if entry is not None]
        models: dict[str, int] = {}
        for entry in found:
            models[entry.target] = models.get(entry.target, 0) + 1
        counts = {name.decode(): int(n) for name, n in (await self._client.hgetall(self._counts)).items()}
        oldest = min((entry.made for entry in found), default=0.0)
        ordered = dict(sorted(models.items(), key=lambda item: (-item[1], item[0])))
        return Stats(
            len(found), sum(entry.size for entry in found), oldest, ordered, dict(sorted(counts.items()))
        )

    async def meant(self, after: int, limit: int) -> list[tuple[int, Entry]]:
        async def numbered() -> list[tuple[int, Entry]]:
            rows = await self._client.zrangebyscore(
                self._by_number, f"({after}", "+inf", start=0, num=limit, withscores=True
            )
            blobs = await self._client.mget([self._entries + key for key, _ in rows]) if rows else []
            return [(int(n), decode(blob)) for (_, n), blob in zip(rows, blobs, strict=True) if blob]

        return await self._try(numbered) or []

    async def written(self) -> None:
        """Until what was put and counted has arrived, or could not."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """What is under way is finished, then the connections are closed, in the background."""
        asyncio.get_running_loop().create_task(self.close_async()).add_done_callback(
            lambda task: task.exception()
        )

    async def close_async(self) -> None:
        await self.written()
        await self._client.aclose()

    async def _everything(self) -> list[tuple[bytes, Entry | None]]:
        """Every entry there is; None for one that has expired. A walk: for people, not for requests."""
        found: list[tuple[bytes, Entry | None]] = []
        keys = await self._client.zrange(self._used, 0, -1)
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            blobs = await self._client.mget([self._entries + key for key in some])
            found += [(key, decode(blob) if blob else None) for key, blob in zip(some, blobs, strict=True)]
        return found

    def _later(self, work: Callable[[], Awaitable[Any]]) -> None:
        task = asyncio.get_running_loop().create_task(self._try(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """What the server says; None where it cannot be asked now."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            answer = await work()
        except self._errors as error:
            self._rests_until = time.monotonic() + REST
            if not self._failing:
                _log.warning("the cache's server cannot be reached (%s): answers are not given again", error)
            self._failing = True
            return None
        self._failing = False
        return answer

    def _remember(self, entry: Entry) -> None:
        if (known := self._near.pop(entry.key, None)) is not None:
            self._near_bytes -= known.size
        self._near[entry.key] = entry
        self._near_bytes += entry.size
        while self._near_bytes > self._memory:
            self._near_bytes -= self._near.popitem(last=False)[1].size
