"""Two hosts in network namespaces share a key through Valkey; one is cut off and still reaches the provider."""

from __future__ import annotations

import pytest
from bench.quota import hosts


async def test_a_host_cut_off_from_the_store_overruns_nothing_and_the_other_keeps_serving() -> None:
    if why := hosts.possible():
        pytest.skip(f"not possible on this machine: {why}")
    found = await hosts.run(cut=8.0, calm=2.0)
    assert found.overruns == 0
    assert sum(found.before["a"]) > 0
    assert sum(found.during["a"][4:]) == 0  # its lease has ended, and it does not spend blindly
    assert sum(found.during["b"][4:]) > hosts.LIMIT / 2
    assert sum(found.after["a"]) > 0  # it is back
