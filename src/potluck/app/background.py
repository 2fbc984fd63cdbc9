"""Files and batches of one worker, put together: the desks that take them in, and the task that works them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.app.batches import Runner
from potluck.app.batches_room import Rooms
from potluck.app.batches_turns import Turns
from potluck.app.batches_work import Work
from potluck.server.batches import Batches
from potluck.server.desk import Desk
from potluck.server.files import Files
from potluck.server.lines import Lines
from potluck.store.aside import Aside
from potluck.store.files import Shelf

if TYPE_CHECKING:
    from potluck.app.compose import Gateway
    from potluck.server.chat import Chat


class Background:
    """`runner.run()` is a task of the gateway's; `stop` after that was cancelled."""

    def __init__(self, gateway: Gateway, chat: Chat) -> None:
        settings, clock = gateway.settings, gateway.clock
        limits, days = settings.batches, settings.keep_records_days
        self._aside, shelf = Aside(gateway.database, "potluck-batches"), Shelf(settings.home)
        rooms = Rooms(
            lambda: gateway.pool, gateway.ledger, gateway.paces, gateway.health, gateway.pacing, clock
        )
        meters, queue = gateway.meters, gateway.queue
        turns = Turns(rooms, clock, most=limits.at_once, busy=lambda: meters.open, waiting=lambda: len(queue))
        work = Work(self._aside, shelf, clock, most=limits.max_requests, days=days)
        self.runner = Runner(
            self._aside,
            work,
            Lines(chat),
            rooms,
            turns,
            clock,
            worker=gateway.worker,
            at_once=limits.at_once,
            who=gateway.keyring.by_id,
        )
        self._files = Files(self._aside, shelf, clock, most=limits.max_bytes_per_client, days=days)
        self._batches = Batches(self._aside, clock, most=limits.max_unfinished, told=self.runner.wake)

    def desks(self) -> dict[str, Desk]:
        files, batches = self._files.visit, self._batches.visit
        return {"/v1/files": files, "/v1/files/*": files, "/v1/batches": batches, "/v1/batches/*": batches}

    async def stop(self) -> None:
        await self.runner.stop()

    def close(self) -> None:
        self._aside.close()
