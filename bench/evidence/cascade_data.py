"""The questions that a cascade is replayed on: what each model answered, and whether it was right.

Only what a gateway would see at that moment goes into a `Case`: the question, the cheap models' answers, and (after it was
asked) the strong one's.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.evidence.claim import half, needed

from potluck.stages.judge import gist

LETTERS = "ABCDEFGHIJ"
ZERO = {
    "strong": "Meta-Llama-3.1-70B-Instruct",
    "cheap": ("Meta-Llama-3.1-8B-Instruct", "gemma-2-9b-it", "Qwen2-7B-Instruct"),
}
MMLU_STRONG = "Meta-Llama-3_1-70B-Instruct"
MMLU_CHEAP = ("Meta-Llama-3_1-8B-Instruct", "Phi-3-mini-4k-instruct", "mathstral-7B")


@dataclass(frozen=True)
class Case:
    """`gists` and `right` are the cheap models', in the order they are asked; `text` is the first one's answer."""

    question: str
    gists: tuple[str, ...]
    right: tuple[bool, ...]
    strong: bool
    text: str

    @property
    def half(self) -> int:
        return half(self.question)


def mmlu(data: Path) -> list[Case]:
    """MMLU-Pro: the published predictions of the cheap models and of the strong one."""
    folder = data / "mmlu_pro_cascade"
    asked, predicted, texts = needed(
        folder, "questions.jsonl.xz", "preds_29models.csv.gz", f"cot_{MMLU_CHEAP[0]}.jsonl.xz"
    )
    with lzma.open(asked, "rt") as lines:
        questions = {row["question_id"]: row for row in map(json.loads, lines)}
    with lzma.open(texts, "rt") as lines:
        said = {row["id"]: row["text"] for row in map(json.loads, lines)}
    found = []
    with gzip.open(predicted, "rt") as lines:
        for row in csv.DictReader(lines):
            id = int(row["question_id"])
            if id not in questions:
                continue
            options = "\n".join(f"{x}) {o}" for x, o in zip(LETTERS, questions[id]["options"], strict=False))
            preds = [row[name] if row[f"{name}_extracted"] == "1" else "" for name in MMLU_CHEAP]
            found.append(
                Case(
                    f"{questions[id]['question']}\n{options}",
                    tuple(f"({one})" if one else "" for one in preds),
                    tuple(row[name] == row["answer"] for name in MMLU_CHEAP),
                    row[MMLU_STRONG] == row["answer"],
                    said.get(id, ""),
                )
            )
    return found


def zeroeval(data: Path, bench: str) -> list[Case]:
    """`gsm` (GSM8K) or `crux`: extracted answers, so the text of an answer is not known, only its length."""
    asked, answered = needed(data / "zeroeval", "questions.jsonl.xz", "per_query.csv.xz")
    with lzma.open(asked, "rt") as lines:
        questions = {(row["bench"], row["id"]): str(row["question"]) for row in map(json.loads, lines)}
    by_id: defaultdict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    with lzma.open(answered, "rt") as lines:
        for row in csv.DictReader(lines):
            if row["bench"] == bench:
                by_id[row["id"]][row["model"]] = row
    found = []
    for id, rows in by_id.items():
        if not {ZERO["strong"], *ZERO["cheap"]} <= rows.keys() or (bench, id) not in questions:
            continue
        mine = [rows[name] for name in ZERO["cheap"]]
        question = questions[bench, id]
        found.append(
            Case(
                question,
                tuple(_gist(bench, row["pred"]) for row in mine),
                tuple(row["correct"] == "1" for row in mine),
                rows[str(ZERO["strong"])]["correct"] == "1",
                "x" * int(mine[0]["out_chars"] or 0),
            )
        )
    return found


def _gist(bench: str, pred: str | None) -> str:
    """The extracted answer as the judge would compare it: a number for GSM8K, a literal for CRUX."""
    if not pred or not pred.strip():
        return ""
    return gist(pred) if bench == "gsm" else pred.strip()
