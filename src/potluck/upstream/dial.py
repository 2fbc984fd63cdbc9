"""From an origin to a connected socket: name, address race, proxy, TLS.

Rules: whatever fails here, nothing of the request has left: every error says sent=False. Addresses
race as in RFC 8305 (happy eyeballs), in our own words because uvloop's create_connection cannot.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from potluck.errors import TimedOut, Unavailable
from potluck.upstream.connection import Connection
from potluck.upstream.origin import Origin
from potluck.upstream.proxy import Proxy

HEAD_START = 0.25  # seconds an address has before the next is tried too: RFC 8305 §5

Address = tuple[int, int, int, str, tuple[Any, ...]]  # as getaddrinfo gives it


async def connect(
    make: Callable[[], Connection],
    origin: Origin,
    proxy: Proxy | None,
    tls: Callable[[], ssl.SSLContext],
    *,
    seconds: float,
) -> Connection:
    """A connection ready to send. Raises Unavailable, TimedOut or Malformed, all with sent=False."""
    where = origin.address if proxy is None else f"{origin.address} through the proxy"
    try:
        async with asyncio.timeout(seconds):
            return await _open(make, origin, proxy, tls)
    except TimeoutError:
        raise TimedOut(f"No connection to {where} within {seconds:g} s.", sent=False) from None
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
        raise Unavailable(f"No trusted TLS connection to {where}: {reason}.", sent=False) from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot hold
        raise Unavailable(f"No connection to {where}: {error}.", sent=False) from error


async def _open(
    make: Callable[[], Connection], origin: Origin, proxy: Proxy | None, tls: Callable[[], ssl.SSLContext]
) -> Connection:
    loop = asyncio.get_running_loop()
    sock = await reach(*((origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)))
    try:
        if origin.tls:
            if proxy is not None:
                await proxy.tunnel(sock, origin)
            _, connection = await loop.create_connection(
                make, sock=sock, ssl=tls(), server_hostname=origin.host
            )
        else:
            _, connection = await loop.create_connection(make, sock=sock)
    except BaseException:
        sock.close()
        raise
    return connection


async def reach(host: str, port: int) -> socket.socket:
    """A connected socket to the first address of `host` that answers. Raises OSError, the first one met."""
    loop = asyncio.get_running_loop()
    addresses = interleave(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if len(addresses) == 1:
        return await _try(addresses[0])
    return await _race(addresses)


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Families in turn, the resolver's favourite first, so that one dead family costs one head start."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*families.values())
    return [address for each in rounds for address in each if address is not None]


async def _race(addresses: list[Address]) -> socket.socket:
    waiting, running = list(addresses), set[asyncio.Task[socket.socket]]()
    first_error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_try(waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winners = [task for task in done if task.exception() is None]
            for loser in winners[1:]:
                loser.result().close()
            if winners:
                return winners[0].result()
            first_error = first_error or next((task.exception() for task in done), None)
    finally:
        await _call_off(running)
    raise first_error or OSError("the name has no address")


async def _call_off(running: set[asyncio.Task[socket.socket]]) -> None:
    """Cancel the slower attempts; one that connected at the same moment is closed."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _try(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
