"""Options that several commands share, and what they load: settings, the running gateway, names to complete.

Rules: nothing here imports more than the option needs; a command pays for what it does, `--help` for nothing.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from potluck.cli.running import Running
    from potluck.config import Settings

FILE = "potluck.toml"
COMPLETE_SECONDS = 0.3  # a Tab key that waits longer feels broken


def complete_providers(incomplete: str) -> list[str]:
    """The shipped providers by file name: no file is opened for a Tab key."""
    directory = Path(__file__).resolve().parent.parent / "providers"
    names = sorted(path.stem for path in directory.glob("*.toml") if not path.name.startswith("_"))
    return [name for name in names if name.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    """What the running gateway serves; while none runs, the wishes that always work."""
    from potluck.errors import PotluckError
    from potluck.router import AUTO

    names = list(AUTO)
    try:
        listed = gateway(None).get("/v1/models", seconds=COMPLETE_SECONDS)
        names = [str(model["id"]) for model in listed["data"]]
    except (PotluckError, KeyError, TypeError):
        pass
    return [name for name in names if name.startswith(incomplete)]


Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration to use instead of your own."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="auto, auto:code, auto:fast, auto:private, a model's name, or provider/model.",
        autocompletion=_models,
    ),
]
ProviderName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Show everything about this one.", autocompletion=complete_providers
    ),
]


def settings(config: Path | None) -> Settings:
    """The configuration and the environment together. Raises ConfigError."""
    from potluck import config as configuration

    chosen = configured(config)
    _tell_of_a_file_here(chosen)
    return configuration.load(chosen, os.environ)


def configured(config: Path | None) -> Path | None:
    """Which file: --config, POTLUCK_CONFIG, the one in the user's configuration; or none.

    Not the one in the working directory: whoever wrote a checkout could send the user's keys where they like
    (docs/decisions/configuration-file.md).
    """
    if config is not None:
        return config
    if named := os.environ.get("POTLUCK_CONFIG"):
        return Path(named).expanduser()
    mine = user_file()
    return mine if mine.is_file() else None


def user_file() -> Path:
    """The file that every command reads: `~/.config/potluck/potluck.toml`, or the platform's place for it."""
    import platformdirs

    return platformdirs.user_config_path("potluck") / FILE


@cache
def _tell_of_a_file_here(chosen: Path | None) -> None:
    """A file in the working directory looks as if it were read; say so if it is not."""
    here = Path(FILE)
    if not here.is_file() or (chosen is not None and chosen.is_file() and here.samefile(chosen)):
        return
    from potluck.cli.show import note

    note(f"[yellow]{FILE} in this directory is not read;[/] if it is yours, say --config {FILE}.")


def client_key() -> str:
    """The key this command line shows a gateway: POTLUCK_KEY, or POTLUCK_API_KEY as other programs spell it."""
    return os.environ.get("POTLUCK_KEY") or os.environ.get("POTLUCK_API_KEY", "")


def gateway(config: Path | None) -> Running:
    """The gateway at POTLUCK_URL, or where the configuration says it listens; its key from POTLUCK_KEY."""
    from potluck.cli.running import Running

    url = os.environ.get("POTLUCK_URL") or address(settings(config))
    return Running(url, client_key())


def address(settings: Settings) -> str:
    """Where this machine reaches a gateway with these settings: "every address" is reached on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    host = host.strip("[]")
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
