"""The only package that opens a socket to a provider: a lean HTTP/1.1 client on asyncio protocols.

Rules: no task, timer or context manager per request; one exchange owns one connection until it is
closed; what was cut is never passed off as whole; nothing is sent twice unless that is harmless
(see `client.Upstream.send`). Redirects are returned, not followed: a key must not travel to a host
that was not configured.
"""

from potluck.upstream.call import Call, Timeouts, header_lines
from potluck.upstream.client import Upstream
from potluck.upstream.exchange import Exchange
from potluck.upstream.origin import Origin
from potluck.upstream.pool import PoolStats

__all__ = ["Call", "Exchange", "Origin", "PoolStats", "Timeouts", "Upstream", "header_lines"]
