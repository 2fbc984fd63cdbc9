"""The measured claims as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.evidence.claim import Claim

HEAD = """# Evidence

What the field says about saving calls, and what we measured. Written by `make bench-evidence`; do not edit.
Thresholds were chosen on one half of the data, every figure here comes from the other. In brackets: 95% bootstrap
intervals.
"""


def page(claims: Sequence[Claim]) -> str:
    """Markdown: one overview, then each claim with its tables and where it does not hold."""
    return "\n".join([HEAD, *_overview(claims), *(line for claim in claims for line in _claim(claim))]) + "\n"


def _overview(claims: Sequence[Claim]) -> Iterator[str]:
    rows = [[each.claim, each.found, each.bar, "met" if each.met else "**missed**"] for each in claims]
    yield from _table(("claim", "measured", "bar", ""), rows)


def _claim(claim: Claim) -> Iterator[str]:
    yield f"\n## {claim.claim[0].upper()}{claim.claim[1:]}\n"
    yield f"Data: {claim.data}\n"
    yield f"Measured: {claim.found}. Bar: {claim.bar} ({'met' if claim.met else 'missed'}).\n"
    for title, header, rows in claim.tables:
        yield f"{title}\n"
        yield from _table(header, rows)
        yield ""
    if claim.limits:
        yield "Where it does not hold:\n"
        yield from (f"- {each}" for each in claim.limits)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
