"""Tokens held per true token, by measure: `python -m bench.micro.tokens [data folder]`.

The margin (99.9th percentile of true / measured) is learned on one half of the texts, the figure comes from the other.
The true count is another family's tokenizer, as it is for a gateway; what a provider adds around it is left out.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import quicktok  # type: ignore[import-untyped]
from bench.evidence.claim import REPORT, TUNE, half
from bench.gateway.systems import ROOT

from potluck.app.tokens import tokenizer
from potluck.surfaces import openai
from potluck.types import Trace

FAMILIES = {"Llama 3": "llama3", "Qwen 2.5 / 3": "qwen3", "GPT-4 (cl100k)": "cl100k_base"}
EACH = 600  # texts of one kind, at most


def texts(data: Path) -> Iterator[str]:
    for language in ("en", "vi"):
        with lzma.open(data / "xquad" / f"xquad.{language}.json.xz") as file:
            articles = json.load(file)["data"]
        every = [p["context"] + " " + p["qas"][0]["question"] for a in articles for p in a["paragraphs"]]
        yield from every[:EACH]
    with lzma.open(data / "zeroeval" / "questions.jsonl.xz") as file:
        yield from [str(json.loads(line)["question"]) for line in file][: 3 * EACH]
    with gzip.open(data / "banking77" / "test.csv.gz", "rt") as rows:
        yield from [row[0] for row in csv.reader(rows)][1 : EACH + 1]


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    every = list(texts(data))
    counted = tokenizer("o200k_base")
    assert counted is not None
    asked = [
        openai.parse_chat(json.dumps({"messages": [{"role": "user", "content": t}]}).encode(), trace=Trace())
        for t in every
    ]
    measures = {
        "bytes": np.array([one.tokens_in for one in asked]),
        "o200k_base": np.array([counted(one) for one in asked]),
    }
    tune = np.array([half(text) == TUNE for text in every])
    report = np.array([half(text) == REPORT for text in every])
    print(f"{len(every)} texts; held / true, and the share that was held too low")
    for family, name in FAMILIES.items():
        encoding = quicktok.get_encoding(name)
        true = np.array([encoding.count(text) + 4 for text in every])
        row = []
        for measured in measures.values():
            margin = np.quantile(true[tune] / measured[tune], 0.999)
            held = measured[report] * margin
            row.append(f"{held.sum() / true[report].sum():.2f} ({(held < true[report]).mean():.2%} too low)")
        print(f"| {family} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
