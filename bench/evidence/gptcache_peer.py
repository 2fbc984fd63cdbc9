"""Runs in GPTCache's own environment: a stream of questions through its similarity cache, as its README sets it up.

SQLite and FAISS, SearchDistanceEvaluation, similarity threshold 0.8 (its default). Only the embedding is not its
default: that model is a download, so it gets the same MiniLM vectors as everyone else.
"""

import json
import sys

import numpy as np
from gptcache import cache
from gptcache.adapter.api import get, put
from gptcache.manager import CacheBase, VectorBase, get_data_manager
from gptcache.processor.pre import get_prompt
from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation


def main() -> None:
    asked = np.load(sys.argv[1])
    vectors, intents, order = asked["vectors"], asked["intents"], asked["order"]
    cache.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda prompt, **_: vectors[int(prompt)],
        data_manager=get_data_manager(
            CacheBase("sqlite"), VectorBase("faiss", dimension=vectors.shape[1]), max_size=10**6
        ),
        similarity_evaluation=SearchDistanceEvaluation(),
    )
    hits, wrong = [], []
    for row in order:
        prompt, truth = str(row), str(intents[row])
        found = get(prompt)
        hits.append(int(found is not None))
        wrong.append(int(found is not None and found != truth))
        if found is None:
            put(prompt, truth)
    print(json.dumps({"hits": hits, "wrong": wrong}))


main()
