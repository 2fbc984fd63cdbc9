"""Bring one file onto this machine: streamed, hashed on the way, and visible only when whole and right.

Rules: the bytes go to a temporary name in the same folder and are renamed at the end, so no reader ever sees
half a file and a refused one leaves nothing behind. It runs in a thread; cancelling stops it within a block.
`Progress` is called from that thread with (bytes so far, bytes in all; 0 = unknown).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from potluck.errors import ConfigError

Progress = Callable[[int, int], object]
Stopped = Callable[[], bool]
T = TypeVar("T")
BLOCK = 1 << 18  # bytes; also how much may still arrive before a cancelled transfer notices
_SILENCE = 30.0  # seconds without a byte before a download is given up


class Cancelled(Exception):
    """Raised inside the thread of a cancelled transfer, so that it cleans up; nobody outside sees it."""


def checksum(path: Path) -> str:
    """The sha256 of a file, in hex. 98 MB take about 0.25 s on a busy core. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(
    source: IO[bytes] | BinaryIO,
    target: Path,
    sha256: str,
    total: int,
    progress: Progress | None = None,
    stopped: Stopped = lambda: False,
) -> Path:
    """Copy `source` to `target` if its hash is `sha256`.

    `total` is its length in bytes, 0 = unknown. Raises ConfigError (hash, room), OSError, Cancelled.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(target.parent, total)
    digest, done = hashlib.sha256(), 0
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            while block := source.read(BLOCK):
                if stopped():
                    raise Cancelled
                digest.update(block)
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256.lower():
            raise ConfigError(wrong_hash(target.name, sha256, digest.hexdigest()))
        os.chmod(name, 0o644)  # mkstemp gives 0600; another user's gateway may read the same weights
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def wrong_hash(name: str, wanted: str, got: str) -> str:
    """The sentence for a file that is not what it should be."""
    return (
        f"{name} is not the expected file: its sha256 is {got}, not {wanted.lower()}. Nothing was kept. "
        "Either it was damaged or replaced on the way, or the hash given is wrong: check it at the source."
    )


async def in_thread(work: Callable[[Stopped], T]) -> T:
    """Run `work(stopped)` in a thread. When cancelled, tell the thread and wait until it has cleaned up."""
    stop = threading.Event()
    future = asyncio.ensure_future(asyncio.to_thread(work, stop.is_set))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([future])
        future.exception()  # seen: a Cancelled nobody asks for would be logged as never retrieved
        raise


async def download(url: str, target: Path, sha256: str, progress: Progress | None = None) -> Path:
    """Fetch `url` into `target`. Raises ConfigError: unreachable, refused, not https, wrong hash, no room."""
    check_url(url)

    def work(stopped: Stopped) -> Path:
        opener = urllib.request.build_opener(_OnlySafe())
        with opener.open(url, timeout=_SILENCE) as answer:
            total = int(answer.headers.get("content-length") or 0)
            return save(answer, target, sha256, total, progress, stopped)

    try:
        return await in_thread(work)
    except urllib.error.HTTPError as reason:
        reason.close()
        raise ConfigError(
            f"{url} answered {reason.code}. Check the name. A model behind a log-in must be downloaded "
            "by hand and registered with `potluck models use PATH`."
        ) from None
    except OSError as reason:  # URLError, time-outs, resets and a full disk are all OSErrors
        raise ConfigError(
            f"Could not download {url}: {getattr(reason, 'reason', reason)}. Check the network "
            "(proxies are taken from HTTPS_PROXY), or copy the file here and run `potluck models use PATH`."
        ) from None


def check_url(url: str) -> None:
    """Raise ConfigError unless `url` is https, or http on this very machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1"}):
        return
    raise ConfigError(f"Models are only downloaded over https, and {url} is not. Use an https address.")


def _check_room(folder: Path, total: int) -> None:
    free = shutil.disk_usage(folder).free
    if total > free:
        raise ConfigError(
            f"The model needs {total // 10**6} MB and {folder} has {free // 10**6} MB left. "
            "Make room, or choose another data directory."
        )


class _OnlySafe(urllib.request.HTTPRedirectHandler):
    """A hub redirects to its file servers; that is followed, but never from https down to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise ConfigError(f"{req.full_url} sent us to {newurl}, which is not https. Nothing was fetched.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
