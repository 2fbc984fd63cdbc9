"""A file arrives whole and right, or not at all."""

from __future__ import annotations

import asyncio
import urllib.request
from email.message import Message
from io import BytesIO
from pathlib import Path

import pytest

from potluck.errors import ConfigError
from potluck.local.transfer import _OnlySafe, check_url, download
from tests.local.conftest import TINY, TINY_SHA, Hub


async def test_a_download_is_kept_when_its_hash_is_right(hub: Hub, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    target = tmp_path / "deep" / "tiny.gguf"
    await download(
        f"{hub.url}/org/repo/tiny.gguf", target, TINY_SHA.upper(), lambda *step: steps.append(step)
    )
    assert target.read_bytes() == TINY
    assert steps[-1] == (len(TINY), len(TINY))
    assert [path.name for path in target.parent.iterdir()] == ["tiny.gguf"]


async def test_a_wrong_hash_is_refused_and_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"its sha256 is {TINY_SHA}, not {'0' * 64}. Nothing was kept"):
        await download(f"{hub.url}/org/repo/tiny.gguf", tmp_path / "tiny.gguf", "0" * 64)
    assert list(tmp_path.iterdir()) == []


async def test_a_refused_download_does_not_harm_the_file_that_was_there(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"the good one")
    with pytest.raises(ConfigError):
        await download(f"{hub.url}/org/repo/tiny.gguf", tmp_path / "tiny.gguf", "0" * 64)
    assert (tmp_path / "tiny.gguf").read_bytes() == b"the good one"


async def test_a_download_cut_in_the_middle_is_not_passed_off_as_whole(hub: Hub, tmp_path: Path) -> None:
    hub.cut = True
    with pytest.raises(ConfigError):
        await download(f"{hub.url}/org/repo/tiny.gguf", tmp_path / "tiny.gguf", TINY_SHA)
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_download_stops_and_cleans_up(hub: Hub, tmp_path: Path) -> None:
    hub.endless, hub.announce = True, 0
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    url, target = f"{hub.url}/org/repo/tiny.gguf", tmp_path / "tiny.gguf"

    def progress(done: int, total: int) -> None:
        loop.call_soon_threadsafe(begun.set)

    task = asyncio.create_task(download(url, target, TINY_SHA, progress))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_a_model_bigger_than_the_disk_is_refused_before_it_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.announce = 1 << 60
    with pytest.raises(ConfigError, match=r"needs \d+ MB and .* has \d+ MB left"):
        await download(f"{hub.url}/org/repo/tiny.gguf", tmp_path / "tiny.gguf", TINY_SHA)
    assert list(tmp_path.iterdir()) == []


async def test_a_missing_model_and_a_missing_hub_are_told_apart(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"answered 404\. Check the name"):
        await download(f"{hub.url}/org/repo/nothing.gguf", tmp_path / "x", TINY_SHA)
    with pytest.raises(ConfigError, match=r"Could not download .*Check the network"):
        await download("http://127.0.0.1:1/x.gguf", tmp_path / "x", TINY_SHA)


@pytest.mark.parametrize("url", ["http://example.com/x.gguf", "ftp://127.0.0.1/x", "file:///etc/passwd", "x"])
def test_only_https_and_loopback_are_downloaded_from(url: str) -> None:
    with pytest.raises(ConfigError, match="only downloaded over https"):
        check_url(url)


def test_a_redirect_from_https_down_to_http_is_not_followed() -> None:
    request = urllib.request.Request("https://hub.example/x.gguf")
    for bad in ("http://hub.example/x.gguf", "http://127.0.0.1/x.gguf", "file:///etc/passwd"):
        with pytest.raises(ConfigError, match="not https"):
            _OnlySafe().redirect_request(request, BytesIO(), 302, "Found", Message(), bad)
    onward = _OnlySafe().redirect_request(
        request, BytesIO(), 302, "Found", Message(), "https://files.example/x"
    )
    assert onward
    assert onward.full_url == "https://files.example/x"
