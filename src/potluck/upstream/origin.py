"""Where a socket goes: scheme, host and port, checked once when the configuration is read.

Rules: plain http is for this machine only, because a key in clear text on a network is a leaked key.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import msgspec

from potluck.errors import ConfigError

_HOST = re.compile(r"[a-z0-9._:-]+")
_DEFAULT_PORT = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether `host` can only mean this machine. Names are not resolved: DNS may say anything."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Origin(msgspec.Struct, frozen=True):
    """A server's address. IPv6 hosts are stored without brackets."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """The origin of a base URL; its path is the caller's business.

        Raises ConfigError for anything but https (http on loopback), and for user info, a query or a
        fragment: a key belongs in a header, where it is never logged.
        """
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"A base URL cannot be read: {error}. Write https://host/path.") from None
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            # The URL itself is not repeated: what stands there may be a key.
            raise ConfigError(
                f"The base URL of {parts.hostname!r} carries user info, a query or a fragment. "
                "Give the bare address, and the key through its own setting."
            )
        host = _ascii((parts.hostname or "").rstrip("."))
        if parts.scheme not in _DEFAULT_PORT or not _HOST.fullmatch(host):
            raise ConfigError(f"The base URL {base_url!r} is not an https:// address with a host name.")
        if parts.scheme == "http" and not is_loopback(host):
            raise ConfigError(
                f"The base URL {base_url!r} would send the key in clear text. Use https://; "
                "http:// is accepted for this machine only."
            )
        return cls(host, _DEFAULT_PORT[parts.scheme] if port is None else port, parts.scheme == "https")

    @property
    def authority(self) -> str:
        """Host and port as in a Host header: the scheme's own port is left out (RFC 9110 §7.2)."""
        return self.bracketed if self.port == (443 if self.tls else 80) else self.address

    @property
    def address(self) -> str:
        """Host and port, always both: for CONNECT and for messages."""
        return f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def _ascii(host: str) -> str:
    """An international name in its ASCII form; "" when it has none, which the caller refuses."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
