"""The optimum of hindsight of one day, by HiGHS. Runs in a Python of its own that has scipy; reads JSON, prints JSON.

    maximise   sum of value[r, t] * x[r, t]
    such that  each request is served at most once, and every limit holds in every one of its windows

It is an upper bound, on the safe side for a yield: x may be a fraction, and a rolling minute is held only in
disjoint minutes (any schedule that obeys the rolling one obeys those).
"""

from __future__ import annotations

import json
import sys
from typing import Any


def solve(problem: dict[str, Any]) -> dict[str, float]:
    """`value`: [request, target, tiers]; `rows`: [limit, [[index into value, units], ...]]; `requests`: how many."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix

    pairs = problem["value"]
    if not pairs:
        return {"value": 0.0, "served": 0.0}
    row, column, entry = [r for r, _, _ in pairs], list(range(len(pairs))), [1.0] * len(pairs)
    limits = [1.0] * problem["requests"]
    for limit, terms in problem["rows"]:
        row += [len(limits)] * len(terms)
        column += [index for index, _ in terms]
        entry += [units / limit for _, units in terms]
        limits.append(1.0)
    matrix = csr_matrix((entry, (row, column)), shape=(len(limits), len(pairs)))
    gain = np.array([tiers for _, _, tiers in pairs])
    found = linprog(-gain, A_ub=matrix, b_ub=np.array(limits), bounds=(0, 1), method="highs")
    if found.status != 0:
        raise SystemExit(f"HiGHS: {found.message}")
    return {"value": float(-found.fun), "served": float(found.x.sum())}


if __name__ == "__main__":
    json.dump(solve(json.load(sys.stdin)), sys.stdout)
