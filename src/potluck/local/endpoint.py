"""Where the local model answers: the value a parent hands to its workers, and the targets made of it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from potluck.errors import ConfigError
from potluck.types import Behaviour, Blame, Quota, Secret, Target, Window

VARIABLE = "POTLUCK_LOCAL_ENDPOINT"  # how it travels to the workers
PROVIDER = "local"
WAITING_ROOM = (
    8  # requests at once, those waiting included: at 50 tokens/s the last one waits about half a minute
)


class Endpoint(msgspec.Struct, frozen=True):
    """Addresses, key and what is behind them. `context` in tokens; no `embeddings_url`: no embeddings."""

    name: str
    base_url: str
    key: Secret
    context: int
    quality: int = 1
    embedder: str = ""
    embeddings_url: str = ""

    @property
    def port(self) -> int:
        return urlsplit(self.base_url).port or 0

    @property
    def embeddings_port(self) -> int:
        return urlsplit(self.embeddings_url).port or 0

    def to_env(self) -> dict[str, str]:
        """The environment variable for workers. It holds the key: keep it out of logs."""
        fields = {**msgspec.structs.asdict(self), "key": self.key.reveal()}
        return {VARIABLE: msgspec.json.encode(fields).decode()}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Endpoint | None:
        """What the parent handed over, None if there is no local model. Raises ConfigError if garbled."""
        if not (text := environ.get(VARIABLE)):
            return None
        try:
            return msgspec.json.decode(text, type=cls, dec_hook=lambda _, value: Secret(value))
        except msgspec.DecodeError:
            raise ConfigError(
                f"{VARIABLE} is not what Potluck wrote there. Start again without it."
            ) from None


# What the model server's refusals mean (seen 2026-11-23 in its 2026.10 release). Embedding inputs that are
# too long come as 500 although the request is at fault.
_BEHAVIOUR = Behaviour(
    failed_requests_count=False,
    blames=(
        Blame(400, "context", "exceed_context_size|exceeds the available context"),
        Blame(500, "context", "too large to process"),
        Blame(503, "busy", "Loading model"),
    ),
)


def targets(endpoint: Endpoint, waiting: int = WAITING_ROOM) -> list[Target]:
    """The local model as one more provider: a chat target, and one for embeddings where they are served.

    Tools are off: the model server accepts `tool_choice` but does not enforce it. The embeddings are the mean
    of a chat model's last layer: good enough to try things out, weaker than a model trained for it. Their
    `context` is 0: the limit of EMBEDDINGS_BATCH tokens holds for one input, a request may have many.
    """
    chat = Target(
        id=f"{PROVIDER}/{endpoint.name}",
        provider=PROVIDER,
        model=endpoint.name,
        name=endpoint.name,
        base_url=endpoint.base_url,
        key=endpoint.key,
        quotas=(_room(endpoint.name, waiting),),
        behaviour=_BEHAVIOUR,
        specialities=frozenset({"general"}),
        context=endpoint.context,
        max_output=endpoint.context // 2,
        quality=endpoint.quality,
        tools=False,
        trains_on_data=False,
        local=True,
    )
    if not endpoint.embeddings_url:
        return [chat]
    embeddings = msgspec.structs.replace(
        chat,
        id=f"{PROVIDER}/{endpoint.embedder}#embeddings",
        model=endpoint.embedder,
        name=endpoint.embedder,
        base_url=endpoint.embeddings_url,
        quotas=(_room(f"{endpoint.embedder}#embeddings", waiting),),
        kind="embeddings",
        specialities=frozenset({"embedding"}),
        context=0,
        max_output=0,
    )
    return [chat, embeddings]


def _room(name: str, waiting: int) -> Quota:
    """The server queues without end; better to be told at once that it is full, and go elsewhere."""
    window = Window("concurrent")
    return Quota(f"{PROVIDER}/{name}", "concurrent", waiting, window, "assumed", label="requests at once")
