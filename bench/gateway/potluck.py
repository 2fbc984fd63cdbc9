"""How Potluck is put beside the others: with a client key, its limits, the ledger and the records all on.

Rule: it is configured like any user's gateway, by `potluck.toml` and one provider file, and its client key is
made by its own command before the clock of the start-up runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gateway.systems import Launch, Site

PROGRAM = Path(sys.executable).with_name("potluck")
_LIMITS = ["--requests-per-minute", "1000000000", "--tokens-per-day", "1000000000000"]


def launch(site: Site) -> Launch:
    """Raises RuntimeError with Potluck's own words if no key can be made."""
    from bench.gateway.systems import Launch, environment

    config = str(site.render("potluck.toml"))
    site.render("potluck-provider.toml", "providers/bench.toml")
    env = {"BENCH_API_KEY": "bench"}
    made = subprocess.run(
        [str(PROGRAM), "keys", "create", f"bench-{site.port}", *_LIMITS, "--config", config],
        capture_output=True,
        text=True,
        env=environment(Launch([], env)),
        check=False,
    )
    if made.returncode:
        raise RuntimeError(" | ".join((made.stderr or made.stdout).strip().splitlines()[-3:]))
    headers = {"authorization": f"Bearer {made.stdout.split()[-1]}"}
    return Launch([str(PROGRAM), "serve", "--config", config], env, headers)
