"""Counts for `/metrics`: plain integers on the hot path, Prometheus text only when somebody asks.

Names follow Prometheus' naming practice (base units, `_total` for counters). Labels are bounded: targets and
outcomes come from the catalog and the error tree, never from a client's text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from potluck.types import Attempt

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds


class Meters:
    """The counts of one worker process."""

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str], int] = defaultdict(int)  # surface, status
        self.attempts: defaultdict[tuple[str, str], int] = defaultdict(int)  # target, outcome
        self.tokens: defaultdict[tuple[str, str], int] = defaultdict(int)  # target, direction
        self.open = 0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.waits = [0] * (len(BOUNDS) + 1)
        self.waited_seconds = 0.0
        self.waiting: Callable[[], int] = int  # how many wait now; nobody, until there is a queue

    def attempt(self, attempt: Attempt) -> None:
        target = attempt.target
        self.attempts[target, attempt.outcome] += 1
        usage = attempt.usage
        if usage is not None:
            self.tokens[target, "input"] += usage.input
            self.tokens[target, "output"] += usage.output

    def answered(self, surface: str, status: str, seconds: float) -> None:
        self.requests[surface, status] += 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def waited(self, seconds: float) -> None:
        self.waits[bisect_left(BOUNDS, seconds)] += 1
        self.waited_seconds += seconds

    def rows(self) -> Iterator[tuple[str, str, int]]:
        """(name, labels joined by a tab, value): the counters that several workers add up."""
        for name, table in (
            ("requests", self.requests),
            ("attempts", self.attempts),
            ("tokens", self.tokens),
        ):
            for labels, value in table.items():
                yield name, "\t".join(labels), value
        for bound, count in enumerate(self.buckets):
            yield "bucket", str(bound), count
        yield "micros", "", int(self.seconds * 1e6)
        for bound, count in enumerate(self.waits):
            yield "wait_bucket", str(bound), count
        yield "wait_micros", "", int(self.waited_seconds * 1e6)
        yield "waiting", "", self.waiting()
        yield "open", "", self.open


class _Once(Collector):
    """Hands the families of one scrape to prometheus_client, which writes the text."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(
    rows: Iterable[tuple[str, str, int]],
    left: Iterable[tuple[str, str, str, float]],
    ahead: Iterable[tuple[str, str, str, float, float]] = (),
) -> bytes:
    """Prometheus text of counter rows (summed), of quotas left (scope, unit, window, amount left), and of what is
    ahead of each (scope, unit, window, seconds until it runs out, seconds until it is whole again).
    """
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for name, labels, value in rows:
        sums[name, labels] += value
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_counters(sums), *_histograms(sums), _quotas(left), *_ahead(ahead)]))
    return generate_latest(registry)


def _counters(sums: dict[tuple[str, str], int]) -> Iterator[Metric]:
    for name, help, labels in (
        ("requests", "Client requests by surface and HTTP status.", ("surface", "status")),
        ("attempts", "Attempts at targets by outcome.", ("target", "outcome")),
        ("tokens", "Tokens by target and direction.", ("target", "direction")),
    ):
        family = CounterMetricFamily(f"potluck_{name}", help, labels=labels)
        for (kind, joined), value in sorted(sums.items()):
            if kind == name:
                family.add_metric(joined.split("\t"), value)
        yield family
    yield GaugeMetricFamily("potluck_requests_open", "Requests in flight.", value=sums["open", ""])
    yield GaugeMetricFamily(
        "potluck_requests_waiting", "Requests that wait for room now.", value=sums["waiting", ""]
    )


def _histograms(sums: dict[tuple[str, str], int]) -> Iterator[Metric]:
    for name, help, prefix in (
        ("request", "Time from request to the end of the reply.", ""),
        ("wait", "Time that requests waited for room, of those that waited.", "wait_"),
    ):
        family = HistogramMetricFamily(f"potluck_{name}_seconds", help)
        running, buckets = 0, []
        for index, bound in enumerate((*map(str, BOUNDS), "+Inf")):
            running += sums[f"{prefix}bucket", str(index)]
            buckets.append((bound, float(running)))
        family.add_metric([], buckets, sums[f"{prefix}micros", ""] / 1e6)
        yield family


def _quotas(left: Iterable[tuple[str, str, str, float]]) -> Metric:
    family = GaugeMetricFamily(
        "potluck_quota_left", "What is left of a quota, in its unit.", labels=("scope", "unit", "window")
    )
    for scope, unit, window, amount in left:
        family.add_metric((scope, unit, window), amount)
    return family


def _ahead(ahead: Iterable[tuple[str, str, str, float, float]]) -> Iterator[Metric]:
    labels = ("scope", "unit", "window")
    out = GaugeMetricFamily(
        "potluck_quota_exhaustion_seconds",
        "Seconds until a quota runs out at today's pace; +Inf if it returns before.",
        labels=labels,
    )
    back = GaugeMetricFamily(
        "potluck_quota_return_seconds",
        "Seconds until all that is spent of a quota has come back; +Inf if it never does.",
        labels=labels,
    )
    for scope, unit, window, runs_out, returns in ahead:
        out.add_metric((scope, unit, window), runs_out)
        back.add_metric((scope, unit, window), returns)
    yield from (out, back)
