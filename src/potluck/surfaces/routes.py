"""Which surface answers at which path. A table, so that what a client can reach is read in one place."""

from __future__ import annotations

from potluck.surfaces import gemini
from potluck.surfaces.anthropic import CountTokens, Messages
from potluck.surfaces.chat import ChatCompletions, Embeddings
from potluck.surfaces.completions import Completions
from potluck.surfaces.moderations import Moderations
from potluck.surfaces.ollama import OllamaChat, OllamaEmbed, OllamaEmbeddings, OllamaGenerate
from potluck.surfaces.rerank import Rerank
from potluck.surfaces.responses import Responses
from potluck.surfaces.surface import Surface

CHAT = ChatCompletions()
COUNT_TOKENS = CountTokens()
OLLAMA = OllamaChat()
RERANK = Rerank()

POSTS: dict[str, Surface] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": Completions(),
    "/v1/embeddings": Embeddings(),
    "/v1/moderations": Moderations(),
    "/v1/rerank": RERANK,
    "/v2/rerank": RERANK,
    "/v1/messages": Messages(),
    "/v1/responses": Responses(),
    "/api/chat": OLLAMA,
    "/api/generate": OllamaGenerate(),
    "/api/embed": OllamaEmbed(),
    "/api/embeddings": OllamaEmbeddings(),
}

# Paths that desks answer, in a format that is not the usual one.
FAMILIES: dict[str, Surface] = {"/v1/messages/count_tokens": COUNT_TOKENS}

PREFIXES: dict[str, Surface] = {"/api/": OLLAMA, "/v1beta/": gemini.GENERATE}


def surface_of(path: str, query: bytes = b"") -> Surface | None:
    """The surface that takes a POST at this path; `query` decides where a format is chosen in it."""
    found = POSTS.get(path)
    if found is None and path.startswith((gemini.BELOW, gemini.STABLE)):
        found = gemini.surface_at(path, query)
    return found


def family(path: str) -> Surface:
    """Whose error format a client of this path understands, also where nothing is."""
    found = surface_of(path) or FAMILIES.get(path)
    if found is not None:
        return found
    if path.startswith(gemini.STABLE) and ":" in path:
        return gemini.GENERATE
    return next((surface for prefix, surface in PREFIXES.items() if path.startswith(prefix)), CHAT)
