"""What one unit of a quota is worth if it is kept: the shadow price that a target's score pays. Pure.

A request should take a unit only if it is worth more there than to the requests that are still to come. That
is bid-price control (Talluri & van Ryzin, "The Theory and Practice of Revenue Management", 2004, ch. 2-3): the
price of a quota is the dual variable of its capacity in the linear programme of the day, and a request goes to

    argmax over targets of   value of being served there  -  sum of duals of what it takes     (tiers of quality)

The duals of an online packing programme can be learnt while it runs (Agrawal, Wang & Ye, "A Dynamic
Near-Optimal Algorithm for Online Linear Programming", Operations Research 62(4), 2014) by solving it again and
again. That is too dear for a plan every 0.1 s, so the dual is estimated in closed form, as Littlewood's rule
does it for one resource (1972; EMSR, Belobaba 1987): the value of what would be displaced, times the
probability that demand until the quota comes back exceeds what is left. Near its reset a quota that demand will
not exhaust is free; one that will run out long before costs nearly the whole value. As the pace is measured on
what the quota itself serves, the two find each other: what is dear is used more slowly, gets cheaper, and is
spent evenly until its reset, instead of being gone in the morning or left over at midnight.

Rules: nobody is refused because of a price: it orders, and a request in hand beats one that is only expected.
Every target's quotas bind together, so of several prices the highest holds (the dual of a limit that does not
bind is 0). Demand is negative binomial: Poisson arrivals whose rate is itself uncertain while little was seen.
"""

from __future__ import annotations

from math import erf, inf, sqrt

# Share of a target's quality tier that a displaced request loses. Tuned by bench/price on the first halves of
# the traces: 0.3 to 0.8 are within noise of one another, 0 is greedy, over 1 wastes top quota at midnight.
WORTH = 0.6
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
    """The price of one request on one quota as a share of what being served is worth there, 0..BULKY.

    `need` and `typical` are units: of this request, and of the usual one.
    """
    return risk if need == typical or typical <= 0.0 else risk * min(BULKY, need / typical)


def price(quality: int, bids: float) -> float:
    """What a target's score pays, in quality tiers. `bids`: the highest `bid` of its quotas."""
    return WORTH * quality * bids
