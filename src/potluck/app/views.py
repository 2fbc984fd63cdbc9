"""The admin pages: what the gateway knows of itself, as plain values. The same values feed the command line.

Rules: nothing here holds a key or a prompt. Counters of the other workers are read from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from potluck import __version__
from potluck.app import foresight
from potluck.app.pacing import bursts
from potluck.quota.forecast import Profile
from potluck.server.meters import exposition
from potluck.store import counters, reports

if TYPE_CHECKING:
    from potluck.app.compose import Gateway

SEPARATOR = "\t"


class Views:
    """Pages of one worker."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection = gateway.database.connect()
        self._learn_at = 0.0

    def pages(self) -> dict[str, Callable[[], Any]]:
        return {
            "/potluck/v1/status": self.status,
            "/potluck/v1/quota": self.quota,
            "/potluck/v1/targets": self.targets,
            "/potluck/v1/requests": self.requests,
        }

    def ready(self) -> str:
        """Why no request could be served, or ""."""
        if self._gateway.pool.targets:
            return ""
        return "no target yet: the local model is still loading, or no provider key is set"

    def status(self) -> dict[str, Any]:
        gateway = self._gateway
        return {
            "version": __version__,
            "worker": gateway.worker,
            "targets": len(gateway.pool.targets),
            "providers": sorted({target.provider for target in gateway.pool.targets}),
            "open": gateway.keyring.open,
            "records_dropped": gateway.recorder.dropped,
            "unlisted": gateway.remote.problems(),
        }

    def quota(self) -> list[Any]:
        gateway = self._gateway
        gateway.ledger.flush()
        rows = foresight.quotas(gateway.ledger, gateway.paces, gateway.pool.targets)
        return rows + bursts(gateway.pacing, gateway.clock.monotonic(), gateway.ledger.time())

    def targets(self) -> list[dict[str, Any]]:
        gateway = self._gateway
        now = gateway.clock.monotonic()
        shown = []
        for target in gateway.pool.targets:
            pulse, room = gateway.health.of(target.id), gateway.ledger.room(target)
            shown.append(
                {
                    "id": target.id,
                    "name": target.name,
                    "kind": target.kind,
                    "quality": target.quality,
                    "specialities": sorted(target.specialities),
                    "context": target.context,
                    "trains_on_data": target.trains_on_data,
                    "local": target.local,
                    "paid": target.paid,
                    "share": room.share,
                    "left": room.left,
                    "first_token_s": round(pulse.first_s, 4),
                    "flakiness": round(pulse.flakiness, 3),
                    "resting_s": round(max(0.0, pulse.until - now), 1),
                }
            )
        return shown

    def requests(self) -> list[Any]:
        self._gateway.recorder.flush()
        return [msgspec.to_builtins(row) for row in reports.recent(self._connection, 100)]

    def metrics(self) -> bytes:
        gateway = self._gateway
        rows = [
            (name, SEPARATOR.join(v for _, v in labels), int(value))
            for (name, labels), value in self._others()
        ]
        rows.extend(gateway.meters.rows())
        left = [
            (state.scope, state.unit, state.label, float(state.left))
            for state in gateway.ledger.snapshot(gateway.pool.targets)
        ]
        return exposition(
            rows, left, foresight.exhaustion(gateway.ledger, gateway.paces, gateway.pool.targets)
        )

    def foresee(self) -> None:
        """Learns, once an hour and beside the event loop, which hours of the day are busy."""
        gateway, now = self._gateway, self._gateway.clock.now()
        if now < self._learn_at:
            return
        self._learn_at = now + foresight.AGAIN
        learning = asyncio.get_running_loop().run_in_executor(None, foresight.profile, gateway.database, now)
        learning.add_done_callback(self._learnt)

    def _learnt(self, learning: asyncio.Future[Profile]) -> None:
        if not learning.cancelled() and learning.exception() is None:  # else the old one goes on
            self._gateway.paces.profile = learning.result()

    def publish(self) -> None:
        """Puts this worker's counters where the other workers' `/metrics` finds them."""
        gateway = self._gateway
        if gateway.settings.workers > 1:
            values: dict[counters.Key, float] = {
                (name, (("l", labels),)): float(value) for name, labels, value in gateway.meters.rows()
            }
            counters.publish(self._connection, gateway.worker, values)

    def close(self) -> None:
        self._connection.close()

    def _others(self) -> list[tuple[tuple[str, counters.Labels], float]]:
        if self._gateway.settings.workers <= 1:
            return []
        return list(counters.collect(self._connection, but=self._gateway.worker).items())
