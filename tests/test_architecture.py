"""The house rules that a program can hold: sizes, names, and who may import whom (import-linter does that)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from potluck import catalog

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CHECKED = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
# "openai" is also the name of the wire format that nearly everybody speaks; the others are words.
WORDS = {"openai", "modal", "local", "together"}
# Formats that are called after who made them. Surfaces and dialects speak formats, so these may name one; nobody else.
FORMATS = {"ollama", "google"}  # "google" is the key under which the format carries what is its own
FORMAT_FOLDERS = {"surfaces", "dialects"}
FORBIDDEN = re.compile(r"(?<!email\.)\b(deployment|orchestrator|helper|utils)\b", re.IGNORECASE)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "path", [p for p in CHECKED if ".peers" not in p.parts and ".work" not in p.parts], ids=short
)
def test_no_file_is_over_300_lines_and_no_function_over_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 40, f"{node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_every_module_says_in_its_first_line_what_it_is_for(path: Path) -> None:
    if "versions" in path.parts or path.name == "env.py":
        return
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a module begins with a sentence"


def test_no_provider_has_its_name_in_python() -> None:
    names = {name for name in catalog.load() if name not in WORDS}
    pattern = re.compile(r"\b(" + "|".join(sorted(names, key=len, reverse=True)) + r")\b")
    found = []
    for path in SOURCES:
        if "sim" in path.relative_to(ROOT / "src" / "potluck").parts:
            continue  # the pretend providers are the providers
        formats = FORMATS if path.parent.name in FORMAT_FOLDERS else set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.body[0].value) for node in ast.walk(tree) if _documented(node)}  # type: ignore[attr-defined]
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                hits = set(pattern.findall(node.value)) - formats
                found += [f"{short(path)}:{node.lineno} {hit}" for hit in hits]
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                found += [f"{short(path)}:{node.lineno} {name}"] if name in names - formats else []
    assert found == []


def _documented(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return ast.get_docstring(node, clean=False) is not None


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_the_words_that_mean_nothing_are_not_used(path: Path) -> None:
    assert not FORBIDDEN.findall(path.read_text(encoding="utf-8"))
