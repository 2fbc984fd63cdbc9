"""Keeps web pages out: checks `Host` (DNS rebinding) and `Origin` (CSRF) before anything is read.

A gateway on loopback trusts whoever reaches it, and every page in the user's browser can. So both checks run
on every request: a rebound name shows in `Host`, a foreign page in `Origin` or `Sec-Fetch-Site`, and a page
cannot forge any of them. Neither check replaces the other: after rebinding, `Origin` and `Host` agree.

Rules: pure functions over raw ASGI headers (lower-case names); the only error for a request is Forbidden.
Verdicts are remembered by the header's bytes, because a client sends the same ones all day.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from potluck.errors import ConfigError, Forbidden

Headers = Collection[tuple[bytes, bytes]]

ANY = "*"  # in an allow list: no check, for those who guard the gateway by other means

# RFC 3986 3.2.2 without user information: a bracketed address, or a name or IPv4 address, and maybe a port.
# Underscores are in no host name, yet in many container networks.
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[0-9a-z_]([0-9a-z_.-]{0,251}[0-9a-z_])?)\.?(:[0-9]{1,5})?")
_TOKENS = re.compile(rb"[0-9A-Za-z!#$%&'*+.^_`|~-]+(,[ \t]*[0-9A-Za-z!#$%&'*+.^_`|~-]+)*")  # RFC 9110 5.6.2
_LONGEST = 1024  # bytes of a header we look at
_PREFLIGHT_SECONDS = b"600"
_TELLING = frozenset({b"origin", b"sec-fetch-site"})  # a browser sends one of them at least


def check_host(headers: Headers, allowed: frozenset[str], bound_port: int) -> None:
    """Raises Forbidden unless `Host` is a loopback name or address, or in `allowed`.

    `allowed` holds lower-case names or addresses (without brackets), with or without ":port". `bound_port` is
    for the message.
    """
    host = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise Forbidden("The request has two Host headers. Send one.")
            host = value
    if host is None or len(host) > _LONGEST or not _host_allowed(host, allowed):
        raise Forbidden(
            "This gateway does not answer under that Host, so that no web page can reach it through a name "
            f"of its own. Use http://localhost:{bound_port}, or add the name to `allowed_hosts`."
        )


def check_origin(headers: Headers, allowed: frozenset[str]) -> None:
    """Raises Forbidden for a request that a web page of another origin caused.

    `allowed` holds origins as browsers write them ("https://chat.example.org"): lower case, no path, the
    default port left out. A request with neither `Origin` nor `Sec-Fetch-Site` comes from no browser.
    """
    if not any([name in _TELLING for name, _ in headers]):  # noqa: C419 (a list is twice as fast as a generator)
        return
    origin = host = site = mode = dest = b""
    for name, value in headers:
        if name == b"origin":
            if origin:
                raise Forbidden("The request has two Origin headers. Send one.")
            origin = value[:_LONGEST] or b"null"
        elif name == b"host":
            host = value[:_LONGEST]
        elif name.startswith(b"sec-fetch-"):
            if name == b"sec-fetch-site":
                site = value
            elif name == b"sec-fetch-mode":
                mode = value
            elif name == b"sec-fetch-dest":
                dest = value
    if origin and _listed(origin, allowed):
        return
    if origin and not _same_origin(origin, host):
        raise Forbidden(
            f"A web page of another origin ({_shown(origin)}) may not use this gateway. If it should, add "
            "its origin to `cors_origins`."
        )
    # A link that was followed is harmless: it is a GET, shown to the person and not to the page it was on. A
    # form sent from elsewhere looks the same but carries an Origin, which was refused above.
    if site in (b"cross-site", b"same-site") and not (
        not origin and mode == b"navigate" and dest == b"document"
    ):
        raise Forbidden(
            "A web page of another site may not use this gateway. If it should, add its origin to "
            "`cors_origins`."
        )


def preflight(headers: Headers, allowed: frozenset[str]) -> list[tuple[bytes, bytes]] | None:
    """The headers that answer a CORS preflight (with status 204), or None when this is none we grant."""
    found = dict(headers)
    origin = found.get(b"origin", b"")
    answer = cors(((b"origin", origin),), allowed)
    if not answer or b"access-control-request-method" not in found:
        return None
    answer += [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    wanted = found.get(b"access-control-request-headers", b"")
    if len(wanted) <= _LONGEST and _TOKENS.fullmatch(wanted):
        answer.append((b"access-control-allow-headers", wanted))
    # Chromium asks this before a public page may talk to a private address.
    if found.get(b"access-control-request-private-network") == b"true":
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer


def cors(headers: Headers, allowed: frozenset[str]) -> list[tuple[bytes, bytes]]:
    """What an answer carries so that a page of an allowed origin may read it; nothing for everyone else.

    Never with credentials: keys come in a header the page must know, cookies are not used.
    """
    if not allowed:
        return []
    for name, value in headers:
        if name == b"origin" and len(value) <= _LONGEST and _listed(value, allowed):
            return [
                (b"access-control-allow-origin", value),
                (b"access-control-expose-headers", b"*"),
                (b"vary", b"Origin"),
            ]
    return []


def may_bind(host: str, has_keys: bool) -> None:
    """Raises ConfigError when the gateway would be open to the network without a single client key."""
    if has_keys or stays_home(host):
        return
    raise ConfigError(
        f"Listening on {host or 'every address'} would let everyone on the network use your provider keys. "
        "Run `potluck keys create NAME` first, and give that key to your clients; or listen on 127.0.0.1."
    )


def stays_home(host: str) -> bool:
    """Whether a gateway that listens there is reached from this machine alone."""
    return _is_loopback(host.strip("[]").lower())


@lru_cache(maxsize=256)
def _host_allowed(value: bytes, allowed: frozenset[str]) -> bool:
    parts = _split(value)
    if parts is None:
        return False
    name, port = parts
    return ANY in allowed or _is_loopback(name) or name in allowed or f"{name}{port}" in allowed


def _split(value: bytes) -> tuple[str, str] | None:
    """The lower-case name without brackets or final dot, and ":port" or ""; None if this is no Host."""
    if not value.isascii():
        return None
    match = _HOST.fullmatch(value.decode("ascii").lower())
    if match is None:
        return None
    name, port = match[1], match[3] or ""
    dotted = match.end(1) < len(match[0]) - len(port)
    if int(port[1:] or 0) > 65535 or (dotted and (name.startswith("[") or name.replace(".", "").isdigit())):
        return None
    return name.strip("[]"), port


def _is_loopback(name: str) -> bool:
    """localhost, 127.0.0.0/8 or ::1. Other spellings (decimal, mapped) come from no browser and no SDK."""
    if name == "localhost":
        return True
    try:
        return IPv6Address(name) == IPv6Address("::1") if ":" in name else IPv4Address(name).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _listed(origin: bytes, allowed: frozenset[str]) -> bool:
    # "null" is what sandboxed frames and files share, so it names nobody.
    text = origin.decode("latin-1")
    if text == "null" or not text.isascii() or not text.isprintable():
        return False
    return ANY in allowed or text.lower() in allowed


@lru_cache(maxsize=256)
def _same_origin(origin: bytes, host: bytes) -> bool:
    """Whether the page came from us. The scheme may differ: TLS may end in a proxy before us."""
    scheme, _, rest = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and bool(host) and rest == host.lower()


def _shown(origin: bytes) -> str:
    """An origin fit for a message: what a stranger wrote, so short and printable."""
    return origin[:100].decode("ascii", "replace").encode("ascii", "backslashreplace").decode("ascii")
