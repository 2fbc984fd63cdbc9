"""Options that several commands share, and what they load: settings, the running gateway, names to complete.

Rules: nothing here imports more than the option needs; a command pays for what it does, `--help` for nothing.
"""

from __future__ import annotations

import os
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
    typer.Option("--config", "-c", metavar="FILE", help="The configuration to use instead of potluck.toml."),
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

    return configuration.load(configured(config), os.environ)


def configured(config: Path | None) -> Path | None:
    """Which file: --config, POTLUCK_CONFIG, potluck.toml here, the one in the user's configuration; or none."""
    if config is not None:
        return config
    if named := os.environ.get("POTLUCK_CONFIG"):
        return Path(named).expanduser()
    import platformdirs

    places = (Path(FILE), platformdirs.user_config_path("potluck") / FILE)
    return next((place for place in places if place.is_file()), None)


def gateway(config: Path | None) -> Running:
    """The gateway at POTLUCK_URL, or where the configuration says it listens; its key from POTLUCK_KEY."""
    from potluck.cli.running import Running

    url = os.environ.get("POTLUCK_URL") or address(settings(config))
    return Running(url, os.environ.get("POTLUCK_KEY", ""))


def address(settings: Settings) -> str:
    """Where this machine reaches a gateway with these settings: "every address" is reached on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    host = host.strip("[]")
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
