"""From what a provider says about its windows to one that can be counted without ever over-running it.

The safe reading of an unknown window is a rolling one: if no span of N seconds holds more than the amount,
then no calendar-aligned window of N seconds does, wherever it starts; and a bucket of that amount, refilled
over N seconds, never runs dry either, because over any time t it grants amount * (1 + t/N), and the rolling
reading spends at most amount * ceil(t/N). It can only waste what a kinder provider would have given back
sooner; its headers then teach us the truth. Two details: a day with the end of summer time has 25 hours, so
a midnight in a zone nobody named could in theory be over-run on one night a year (its 429 corrects us); a
month of unknown alignment is 31 days, the longest there is.
"""

from __future__ import annotations

from potluck.catalog.schema import Limit
from potluck.types import Window

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 31 * 86400}


def window_of(limit: Limit, signup: float = 0.0) -> Window:
    """The window to count `limit` in. `signup` is the epoch second of the account's sign-up, 0 = unknown."""
    if limit.window == "concurrent":
        return Window("concurrent")
    if limit.window == "once" or limit.reset == "one_time":
        return Window("once")
    seconds = float(limit.seconds or _SECONDS[limit.window])
    match limit.reset:
        case "pacific_midnight":
            return Window("day", zone="America/Los_Angeles")
        case "utc_midnight":
            return Window("day")
        case "monthly":
            return Window("month")
        case "monthly_from_signup" if signup:
            return Window("signup_month", anchor=signup)
        case "continuous_refill":
            return Window("refill", seconds)
        case "interval":
            return Window("interval", seconds)
        case "fixed_window":
            return Window("fixed", seconds)
    return Window("rolling", seconds)
