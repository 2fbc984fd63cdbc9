"""Which models are on this machine and which one is used: what `potluck models list|pull|use` works on.

Rules: `data_dir/models.json` is written whole (temporary file, then rename) and read strictly: a broken file
is the user's to see, never silently replaced. The built-in model is always listed first, fetched or not.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import msgspec

from potluck.errors import ConfigError
from potluck.local import gguf, weights
from potluck.local.facts import Builtin, facts
from potluck.local.transfer import Progress

_FILE = "models.json"
_UNNAMEABLE = re.compile(r"[^a-z0-9._-]+")


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One GGUF file. `size` in bytes, `context` in tokens as trained (0 = unknown), `quality` tier 1 to 5.

    `sha256` is empty for a file the user brought: it is theirs to trust. `path` is empty until fetched.
    """

    name: str
    path: str = ""
    sha256: str = ""
    size: int = 0
    source: str = ""
    context: int = 0
    quality: int = 2


class Listed(msgspec.Struct, frozen=True):
    """One line of `potluck models list`."""

    model: Model
    here: bool
    current: bool


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str = ""  # empty: the built-in model
    models: tuple[Model, ...] = ()


class Models:
    """The models of one data directory."""

    def __init__(self, data_dir: Path, builtin: Builtin | None = None) -> None:
        self.data_dir = data_dir
        self._builtin = builtin or facts().builtin

    def list(self) -> tuple[Listed, ...]:
        """Every known model. Raises ConfigError if the record is broken."""
        record = self._load()
        known = (self._describe_builtin(self._find_builtin()), *record.models)
        current = record.current or self._builtin.name
        return tuple(Listed(m, bool(m.path) and Path(m.path).is_file(), m.name == current) for m in known)

    def current(self) -> Model:
        """The model in use; its `path` is empty if it is the built-in one and not fetched yet."""
        return next(line.model for line in self.list() if line.current)

    async def ready(self, progress: Progress | None = None) -> Model:
        """The model in use, on this disk and undamaged: the built-in one is fetched if need be.

        Raises ConfigError if the user's file is gone, or the built-in one cannot be fetched.
        """
        model = self.current()
        if model.name == self._builtin.name:
            return await self.embedder(progress)
        if not await asyncio.to_thread(os.path.isfile, model.path):
            raise ConfigError(
                f"The model {model.name} was at {model.path} and is gone. Put it back, run "
                f"`potluck models use PATH` with its new place, or `potluck models use {self._builtin.name}`."
            )
        return model

    async def embedder(self, progress: Progress | None = None) -> Model:
        """The built-in model, fetched if need be. Raises ConfigError.

        Embeddings always come from it, so that stored vectors stay comparable when the chat model changes.
        """
        return self._describe_builtin(await weights.ready(self._builtin, self.data_dir, progress))

    def use(self, what: str) -> Model:
        """Use a known model by name, or register the GGUF file at a path and use it. Raises ConfigError."""
        record = self._load()
        if what == self._builtin.name:
            self._save(_Record("", record.models))
            return self.current()
        if found := next((model for model in record.models if model.name == what), None):
            self._save(_Record(found.name, record.models))
            return found
        path = Path(what).expanduser()
        if not path.is_file():
            names = ", ".join((self._builtin.name, *(model.name for model in record.models)))
            raise ConfigError(
                f"{what!r} is neither a model known here ({names}) nor a file. Pull it, or fix the path."
            )
        return self._add(path, source="local file")

    async def pull(
        self, name: str, sha256: str = "", progress: Progress | None = None, url: str | None = None
    ) -> Model:
        """Fetch the built-in model by its name, or `org/repo/file.gguf` from the hub, and register it.

        Pulling does not change which model is used. Raises ConfigError.
        """
        if name == self._builtin.name:
            return await self.embedder(progress)
        path = await weights.pull(name, sha256, self.data_dir, progress, url)
        return await asyncio.to_thread(self._add, path, name, sha256.lower(), False)

    def _add(self, path: Path, source: str, sha256: str = "", use: bool = True) -> Model:
        """Register a file that must be a GGUF; the same path again replaces its entry."""
        head, record, path = gguf.read(path), self._load(), path.resolve()
        others = tuple(model for model in record.models if model.path != str(path))
        name = _free_name(path, {self._builtin.name, *(model.name for model in others)})
        model = Model(name, str(path), sha256, path.stat().st_size, source, head.context)
        self._save(_Record(name if use else record.current, (*others, model)))
        return model

    def _find_builtin(self) -> Path | None:
        """The built-in weights, by place and size; `weights.ready` is what checks the hash."""
        wanted = weights.folder(self.data_dir) / self._builtin.file
        for path in (wanted, weights.installed(self._builtin)):
            if path and path.is_file() and path.stat().st_size == self._builtin.size:
                return path
        return None

    def _describe_builtin(self, path: Path | None) -> Model:
        b = self._builtin
        source = f"{b.package} {b.version}"
        return Model(b.name, str(path or ""), b.sha256, b.size, source, b.context, b.quality)

    def _load(self) -> _Record:
        try:
            return msgspec.json.decode((self.data_dir / _FILE).read_bytes(), type=_Record)
        except FileNotFoundError:
            return _Record()
        except (msgspec.DecodeError, OSError) as reason:
            raise ConfigError(
                f"{self.data_dir / _FILE} cannot be read: {reason}. Repair it, or delete it to start over "
                "(the weights themselves stay)."
            ) from None

    def _save(self, record: _Record) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        file = self.data_dir / _FILE
        part = file.with_name(f".{_FILE}.{os.getpid()}.part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        part.replace(file)


def _free_name(path: Path, taken: set[str]) -> str:
    """A name for the file that is easy to type and not taken yet: `My Model.gguf` becomes `my-model`."""
    name = _UNNAMEABLE.sub("-", path.stem.lower()).strip("-.") or "model"
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
