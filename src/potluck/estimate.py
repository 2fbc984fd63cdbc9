"""How many tokens a request will cost, before it is sent: a cheap measure, corrected by what was settled before.

Rules: the measure itself is bytes (`surfaces/openai.py`), or the tokens of one family's tokenizer (`app/tokens.py`).
What corrects it is learned per *family* (the canonical model: two providers that serve the same weights count alike),
from usage that a provider reported:

    held input   = measured  ×  the 99.9th percentile of (reported / measured) of this family
    held output  = max_tokens, or the 95th percentile of this family's answers where the client set no limit

An estimate too low can break a limit, one too high only holds room for a moment; so the margin is a high percentile
and not a mean, and an unknown family starts at the pessimistic measure itself. Percentiles are tracked one value at a
time by stochastic approximation (Robbins & Monro 1951), with steps as large as the values scatter (as in the
retransmission timer of RFC 6298: a smoothed mean deviation): a family that begins to count more is followed within
some ten requests, one that begins to count less within some hundreds. Nothing here reads a clock or a file; `dump`
and `load` are for whoever keeps it over restarts.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

INPUT_SHARE, OUTPUT_SHARE = 0.999, 0.95  # of the requests that the held amount is to be enough for
SLACK = 8  # tokens: a chat template's own, and the rounding of a short prompt
SMALL = 40  # measured tokens; below it a chat template's own tokens are most of the count
LOWEST, HIGHEST = 0.3, 4.0  # a ratio beyond these is a provider's odd count, not a family's tokenizer
SURE = 20  # settled requests before a family's output is believed
FAMILIES = 512  # kept; the catalog names fewer


class Percentile(msgspec.Struct):
    """One tracked percentile; `scatter` is a smoothed mean deviation from it, in the value's unit."""

    value: float
    scatter: float
    seen: int = 0
    top: float = 0.0
    total: float = 0.0

    def add(self, one: float, share: float) -> None:
        """Up by `share` steps for a value above, down by the rest for one below: level at `share`.

        The first values only raise it. After `SURE` of them it starts again from the highest and what that is above
        their mean: down from the pessimistic start step by step would take thousands.
        """
        self.seen += 1
        if self.seen <= SURE:
            self.top, self.total = max(self.top, one), self.total + one
            self.value = max(self.value, one)
            if self.seen == SURE:
                self.scatter = self.top - self.total / SURE
                self.value = self.top + self.scatter
            return
        step = max(self.scatter, 0.01 * self.value) * max(0.05, 1.0 / self.seen**0.5)
        self.value += step * (share if one > self.value else share - 1.0)
        self.scatter += 0.05 * (abs(one - self.value) - self.scatter)


class Family(msgspec.Struct):
    """What was learned of one canonical model."""

    ratio: Percentile
    output: Percentile


class Estimates:
    """One worker's learning. `changed` says whether there is anything new to keep."""

    def __init__(self, start: float = 1.0) -> None:
        self._start = start  # reported / measured of a family that nobody knows
        self._families: dict[str, Family] = {}
        self.changed = False

    def tokens_in(self, family: str, measured: int) -> int:
        """Tokens to hold for a prompt of that measure."""
        known = self._families.get(family)
        if known is None:
            return int(measured * self._start)
        return int(measured * known.ratio.value) + SLACK

    def tokens_out(self, family: str, unlimited: int) -> int:
        """Tokens to hold for an answer whose length nobody limited; `unlimited` until enough is known."""
        known = self._families.get(family)
        return unlimited if known is None or known.output.seen < SURE else int(known.output.value) + 1

    def learn(self, family: str, measured: int, given: int, made: int) -> None:
        """`given` and `made` are the input and output tokens that the provider reported."""
        known = self._families.get(family)
        if known is None:
            if len(self._families) >= FAMILIES:
                return
            known = self._families[family] = Family(Percentile(self._start, 0.1), Percentile(512.0, 128.0))
        if measured >= SMALL and given > 0:
            known.ratio.add(min(HIGHEST, max(LOWEST, given / measured)), INPUT_SHARE)
            known.ratio.value = min(HIGHEST, max(LOWEST, known.ratio.value))
        if made > 0:
            known.output.add(float(made), OUTPUT_SHARE)
            known.output.value = max(1.0, known.output.value)
        self.changed = True

    def dump(self) -> bytes:
        self.changed = False
        return msgspec.json.encode(self._families)

    def load(self, raw: bytes) -> None:
        """What an earlier worker learned; what cannot be read is learned again."""
        try:
            self._families = msgspec.json.decode(raw, type=dict[str, Family])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._families = {}

    def families(self) -> Mapping[str, Family]:
        return self._families
