"""How each target has been behaving: a circuit breaker with half-open probes, and its observed speed.

States (Nygard, "Release It!", 2nd ed., 2018): closed — failures are counted; open — nothing is sent until
`until`; half-open — one probe at a time decides. An open period doubles from 5 s up to 5 minutes, so that a
provider that flaps is asked ever less often, and one success in half-open state closes it again.
Decisions are pure over the times passed in (monotonic seconds); nothing here reads a clock.
"""

from __future__ import annotations

import msgspec

FAILURES_TO_OPEN = 3  # in a row
FIRST_PAUSE = 5.0  # seconds
LONGEST_PAUSE = 300.0
PROBE_PATIENCE = 60.0  # a probe that never reported back is forgotten after this many seconds
FORGET = 0.3  # weight of the newest observation in the moving averages


class Pulse(msgspec.Struct):
    """What is known of one target. `first_ms` is time to the first token, moving average, 0 = unknown."""

    failures: int = 0
    pause: float = 0.0
    until: float = 0.0
    probing: float = 0.0
    first_s: float = 0.0
    flakiness: float = 0.0  # share of recent attempts that failed, moving average


class Health:
    """The pulses of all targets of this process, by target id."""

    def __init__(self) -> None:
        self._pulses: dict[str, Pulse] = {}

    def of(self, target_id: str) -> Pulse:
        pulse = self._pulses.get(target_id)
        if pulse is None:
            pulse = self._pulses[target_id] = Pulse()
        return pulse

    def admits(self, target_id: str, now: float) -> bool:
        """Whether a request may go there now; in half-open state, the caller who gets True is the probe."""
        pulse = self._pulses.get(target_id)
        if pulse is None or not pulse.until:
            return True
        if now < pulse.until:
            return False
        if pulse.probing and now - pulse.probing < PROBE_PATIENCE:
            return False
        pulse.probing = now
        return True

    def opens_at(self, target_id: str) -> float:
        """Monotonic time at which the breaker lets a probe through; 0 if it is closed."""
        pulse = self._pulses.get(target_id)
        return pulse.until if pulse else 0.0

    def succeeded(self, target_id: str, first_s: float) -> None:
        pulse = self.of(target_id)
        if pulse.failures or pulse.until:
            pulse.failures, pulse.until, pulse.pause, pulse.probing = 0, 0.0, 0.0, 0.0
        pulse.first_s += FORGET * (first_s - pulse.first_s) if pulse.first_s else first_s
        pulse.flakiness -= FORGET * pulse.flakiness

    def failed(self, target_id: str, now: float) -> None:
        pulse = self.of(target_id)
        pulse.failures += 1
        pulse.flakiness += FORGET * (1.0 - pulse.flakiness)
        if pulse.probing or pulse.failures >= FAILURES_TO_OPEN:
            pulse.pause = min(LONGEST_PAUSE, pulse.pause * 2 or FIRST_PAUSE)
            pulse.until, pulse.probing = now + pulse.pause, 0.0

    def released(self, target_id: str) -> None:
        """The probe ended without telling us anything (the client left): let the next one try."""
        pulse = self._pulses.get(target_id)
        if pulse:
            pulse.probing = 0.0
