"""Which clients `make clients` runs, from which package, and what each must show. A row each.

Rules: every row has a folder of the same name in `tests/clients/` with its pins and its script, and the reverse;
a pytest holds that. `checks` are what the client can do: one that has no tools of its own is not failed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "tests" / "clients"
ALL = ("chat", "stream", "tools", "error")


@dataclass(frozen=True)
class Client:
    """`package` is whose version is told; `seconds` the longest a run may take; `open`: without client keys;
    `sources`: also its source distribution, for the tests in it.
    """

    name: str
    package: str
    kind: str = "pip"
    checks: tuple[str, ...] = ALL
    seconds: float = 120.0
    open: bool = False
    sources: bool = False

    @property
    def folder(self) -> Path:
        return SCRIPTS / self.name

    @property
    def pins(self) -> Path:
        return self.folder / ("requirements.txt" if self.kind == "pip" else "package-lock.json")

    @property
    def script(self) -> Path:
        """Programs of Node's world that are no libraries are driven from Python as a person would, by their command."""
        script = self.folder / "run.mjs"
        return script if script.exists() else self.folder / "run.py"


CLIENTS = {
    client.name: client
    for client in (
        Client("openai-python", "openai"),
        Client("openai-node", "openai", "npm"),
        Client("anthropic-python", "anthropic"),
        Client("anthropic-node", "@anthropic-ai/sdk", "npm"),
        Client("google-genai", "google-genai"),
        Client("ollama", "ollama"),
        Client("langchain-openai", "langchain-openai", seconds=300.0),
        Client("llama-index", "llama-index-llms-openai-like"),
        Client("pydantic-ai", "pydantic-ai-slim"),
        Client("instructor", "instructor"),
        Client("llm", "llm"),
        Client("litellm", "litellm"),
        Client("claude-code", "@anthropic-ai/claude-code", "npm", seconds=240.0),
        Client("codex", "@openai/codex", "npm", seconds=240.0),
        Client("opencode", "opencode-ai", "npm", seconds=240.0),
        Client("openai-python-tests", "openai", checks=("tests",), seconds=600.0, open=True, sources=True),
    )
}
