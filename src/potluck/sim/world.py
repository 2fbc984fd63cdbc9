"""The pretend world: every provider under its own path on one loopback port, and the desk to steer them.

Rules: ``/<provider>/<the real path>`` is the provider; ``/_sim/...`` is the control, which none really has:
GET /_sim/state, POST /_sim/reset, POST and DELETE /_sim/<provider>/faults, POST /_sim/<provider>/quota with
``{"requests/day": 50}`` (and "model" to change one model alone), GET /_sim/<provider>/requests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from potluck.sim.answers import Options
from potluck.sim.desk import Desk
from potluck.sim.faults import Fault
from potluck.sim.provider import table
from potluck.sim.wire import Exchange, Incoming, listen
from potluck.types import Clock

ACCOUNT = "pretend-account"
Wanted = Mapping[str, Options] | Iterable[str] | None


class World:
    """What `serve` yields. `origin` is ``http://host:port``."""

    def __init__(self, wanted: Wanted, now: Callable[[], float]) -> None:
        rows = table()
        chosen = dict(wanted) if isinstance(wanted, Mapping) else {name: Options() for name in wanted or rows}
        if unknown := set(chosen) - set(rows):
            raise ValueError(f"no pretend provider is called {sorted(unknown)}; there are {sorted(rows)}")
        self.origin = ""
        self.elsewhere = 0  # requests that followed a redirect: must stay 0
        self._desks = {name: Desk(rows[name], options, now) for name, options in chosen.items()}

    def opened(self, host: str, port: int) -> None:
        self.origin = f"http://{host}:{port}"
        for desk in self._desks.values():
            desk.elsewhere = f"{self.origin}/_sim/elsewhere"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._desks)

    def provider(self, name: str) -> Desk:
        return self._desks[name]

    def url(self, name: str) -> str:
        """The base URL to use instead of the real one."""
        return f"{self.origin}/{name}{self._desks[name].pretend.base.replace('{account}', ACCOUNT)}"

    def fault(self, name: str, kind: str, **how: Any) -> Fault:
        return self._desks[name].fault(kind, **how)

    def reset(self) -> None:
        self.elsewhere = 0
        for desk in self._desks.values():
            desk.reset()

    def state(self) -> dict[str, Any]:
        """Everything counted so far, as JSON values."""
        return {name: _state(desk) for name, desk in self._desks.items()} | {"_elsewhere": self.elsewhere}

    def handle(self, incoming: Incoming, exchange: Exchange) -> None:
        path = incoming.path.partition("?")[0]
        first, _, rest = path[1:].partition("/")
        if first == "_sim":
            self._control(incoming, exchange, rest.rstrip("/").split("/"))
            return
        desk = self._desks.get(first)
        inside = _after("/" + rest, desk.pretend.base) if desk is not None else None
        if desk is None or inside is None:
            exchange.send(404, {"error": f"no pretend provider answers {path}"})
            return
        desk.handle(incoming, exchange, inside)

    def _control(self, incoming: Incoming, exchange: Exchange, parts: list[str]) -> None:
        asked = (incoming.method, *parts)
        try:
            exchange.send(200, self._steer(asked, json.loads(incoming.body or b"{}")))
        except LookupError:
            exchange.send(404, {"error": f"no such control: {' '.join(asked)}"})
        except (ValueError, TypeError) as error:
            exchange.send(400, {"error": str(error)})

    def _steer(self, asked: tuple[str, ...], body: Any) -> Any:
        match asked:
            case (_, "elsewhere"):
                self.elsewhere += 1
                return {"error": "a redirect was followed"}
            case ("GET", "state"):
                return self.state()
            case ("POST", "reset"):
                self.reset()
            case ("POST", name, "faults"):
                self.fault(name, **body)
            case ("DELETE", name, "faults"):
                self._desks[name].faults.disarm()
            case ("POST", name, "quota"):
                model = body.pop("model", "")
                self._desks[name].limit(body, model)
            case ("GET", name, "requests"):
                return self._desks[name].bodies
            case _:
                raise LookupError
        return {"ok": True}


def _after(path: str, base: str) -> str | None:
    """The rest of `path` behind `base`, or None; any account id stands for ``{account}``."""
    before, placeholder, behind = base.partition("{account}")
    if not path.startswith(before):
        return None
    rest = path[len(before) :]
    if placeholder:
        account, slash, rest = rest.partition("/")
        if not account or not (slash + rest).startswith(behind):
            return None
        rest = (slash + rest)[len(behind) :]
    return rest if rest.startswith("/") else None


def _state(desk: Desk) -> dict[str, Any]:
    counts: dict[str, Any] = dict(vars(desk.counts))  # asdict() would rebuild a Counter from its pairs
    counts["by_status"] = {str(status): number for status, number in desk.counts.by_status.items()}
    overruns = [asdict(overrun) for overrun in desk.overruns]
    return {"counts": counts, "quotas": desk.gate.state(), "overruns": overruns, "faults": desk.faults.struck}


@asynccontextmanager
async def serve(
    wanted: Wanted = None, *, clock: Clock | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[World]:
    """Serve pretend providers on this event loop until the block ends; all of them if none is named.

    `clock` moves the quotas' time only. Raises ValueError for an unknown provider.
    """
    world = World(wanted, clock.now if clock is not None else time.time)
    server, connections = await listen(world.handle, host, port)
    world.opened(host, server.sockets[0].getsockname()[1])
    try:
        yield world
    finally:
        server.close()
        for connection in list(connections):
            connection.transport.abort()
        await server.wait_closed()
        for _ in range(3):  # an aborted transport tells its protocol on a later turn of the loop
            await asyncio.sleep(0)
