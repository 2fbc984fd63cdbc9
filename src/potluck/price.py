"""What one unit of a quota is worth if it is kept: the shadow price that a target's score pays. Pure.

A request should take a unit only if it is worth more there than to the requests that are still to come. That
is bid-price control (Talluri & van Ryzin, "The Theory and Practice of Revenue Management", 2004, ch. 2-3): the
price of a quota is the dual variable of its capacity in the linear programme of the day, and a request goes to

    argmax over targets of   value of being served there  -  duals of what it takes     (in tiers of quality)

The duals of an online packing programme can be learnt while it runs (Agrawal, Wang & Ye, "A Dynamic
Near-Optimal Algorithm for Online Linear Programming", Operations Research 62(4), 2014) by solving it again and
again. That is too dear for a plan every 0.1 s, so a dual is estimated in closed form, as Littlewood's rule does
for one resource (1972; EMSR, Belobaba 1987):

    price = P(demand until the quota comes back > what is left)  x  what the request displaced then would lose

and what it would lose is its tier less the best that is expected to be left elsewhere. So a quota near its reset,
or one with an equal beside it that has room, is free; one that will run out long before it returns, and nothing as
good beside it, costs nearly the whole tier. As the pace is measured on what the quota itself serves, the two find
each other: what is dear is used more slowly, gets cheaper, and lasts until its reset without being left over.

Rules: nobody is refused because of a price: it orders, and a request in hand beats one that is only expected.
Of several quotas of a target the highest price holds (the dual of a limit that does not bind is 0). Demand is
negative binomial: Poisson arrivals whose rate is itself uncertain while little was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, inf, sqrt

# How much of the step from "takes what is left elsewhere" to "takes nothing worse" the displaced request is charged.
# 1 is a request that takes nothing worse. More hedges: the pace that says how much demand will come is one that the
# price has slowed already. By `python -m bench.price --tune`: 1 to 2 are within half a percent of one another.
CHOOSY = 1.5
BULKY = (
    4.0  # a request is never priced as more than this many typical ones: it takes one place in the queue, too
)
ROOT2 = sqrt(2.0)


def risk(expected: float, supply: float, size: float = 1.0, evidence: float = inf) -> float:
    """The probability, 0..1, that demand of `expected` units exceeds a supply of `supply` units.

    `size`: units of a typical request. `evidence`: how many requests the expectation was learnt from; few make
    it uncertain. Normal approximation with continuity correction: exact to a few percent where it matters.
    """
    if expected <= 0.0:
        return 0.0
    if supply <= 0.0:
        return 1.0
    variance = (
        expected * size * 2.0
    )  # sizes are about exponential, so their second moment is twice the square
    if evidence < inf:
        variance += expected * expected / (evidence + 1.0)
    return 0.5 * (1.0 + erf((expected - supply - 0.5 * size) / (ROOT2 * sqrt(variance))))


def bid(risk: float, need: float, typical: float) -> float:
    """The risk a request puts on one quota, 0..BULKY: it takes the place of `need` / `typical` usual ones.

    `need` and `typical` are units: of this request, and of the usual one.
    """
    return risk if need == typical or typical <= 0.0 else risk * min(BULKY, need / typical)


def charges(offers: Sequence[tuple[int, float]]) -> list[float]:
    """What each target's score pays, in quality tiers. `offers`: (quality, bid) of every target of one plan.

    A target that has no room has a bid of 1 or more: it is nobody's alternative. Shortages come together, as all
    quotas face the same demand: an alternative with as high a risk of its own is none.
    """
    least: dict[int, tuple[float, float]] = {}  # of each tier: the lowest risk, and the next
    for quality, taken in offers:
        first, second = least.get(quality, (1.0, 1.0))
        least[quality] = (taken, first) if taken < first else (first, min(second, taken))
    tiers = sorted(least, reverse=True)
    return [_charge(quality, taken, tiers, least) if taken else 0.0 for quality, taken in offers]


def _charge(quality: int, taken: float, tiers: list[int], least: dict[int, tuple[float, float]]) -> float:
    """The bid times the tiers that the displaced request loses: what it misses less what it still expects."""
    anywhere, as_good, gone = 0.0, 0.0, 1.0
    for tier in tiers:
        first, second = least[tier]
        risk = second if tier == quality and taken <= first else first
        if risk < gone:
            anywhere += tier * (gone - risk)
            gone = risk
        if tier == quality:
            as_good = anywhere
    plain, choosy = max(0.0, quality - anywhere), max(0.0, quality - as_good)
    return taken * (plain + CHOOSY * (choosy - plain))
