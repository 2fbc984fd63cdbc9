"""What the pages say exists: links, commands, settings, files; and what they show as a file loads.

Only committed-to text is read: every Markdown file outside hidden and generated directories.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from scripts import reference

from potluck import config, environment
from potluck.catalog import load as catalog_load
from potluck.cli.tree import root

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {"node_modules", "site-packages"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"\b(?:src/potluck|tests|scripts|bench|docs|requirements)/[\w./*-]*[\w*/]")
_TREE: Any = typer.main.get_command(root)
OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<", "&", ")"}


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Ids of headings as GitHub makes them: lower case, no punctuation, hyphens for spaces."""
    heads = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    for kind, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind in kinds:
            yield text


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue  # another site; tests never leave the machine
        path, _, anchor = link.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(link)
    assert broken == []


@each_page
def test_every_toml_it_shows_loads(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "toml")):
        home = tmp_path / str(number)
        home.mkdir()
        if re.search(r"^base_url = ", text, re.MULTILINE):
            (home / "shown.toml").write_text(text, encoding="utf-8")
            assert catalog_load(home)
        else:
            (home / "potluck.toml").write_text(text, encoding="utf-8")
            config.load(home / "potluck.toml", {})


def commands(page: Path) -> Iterator[list[str]]:
    """Every `potluck …` a reader may type, as words: from shell blocks, and from code in a sentence."""
    lines = [line for text in blocks(page, "bash", "sh", "ini") for line in text.splitlines()]
    for line in (*lines, *_CODE.findall(prose(page))):
        line = re.sub(r"\s+#.*|…|\.\.\.", "", line)  # comments, and what the reader fills in
        for found in re.finditer(r"(?:^|[\s(/=])potluck ((?:[a-z]|--[a-z])[^)]*)", line):
            yield words(found[1])


def words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    kept = []
    for word in lexer:
        if word in OPERATORS:
            break
        kept.append(word)
    return kept


def wrong(line: list[str]) -> str:
    """What about this command line does not exist; "" if all of it does."""
    command, rest = _TREE, list(line)
    while rest and getattr(command, "commands", None) is not None and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    options = [word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return next((f"no option {option}" for option in options if option not in known), "")


@each_page
def test_every_command_line_it_quotes_exists(page: Path) -> None:
    found = {" ".join(line): wrong(line) for line in commands(page)}
    assert {line: problem for line, problem in found.items() if problem} == {}


def test_the_pages_quote_commands_at_all() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 60
    assert wrong(["serve", "--simm"]) == "no option --simm"
    assert wrong(["keys", "destroy", "me"]) == "no command destroy"


@each_page
def test_every_variable_of_ours_it_names_is_read(page: Path) -> None:
    read = (
        {name for name, _ in environment.names(config.Settings)} | environment.IGNORED | {"POTLUCK_TEST_DATA"}
    )
    named = set(re.findall(r"\bPOTLUCK_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named <= read


@each_page
def test_every_file_of_the_house_it_names_exists(page: Path) -> None:
    named = {path for code in _CODE.findall(prose(page)) for path in _FILE.findall(code)}
    made = {path for path in named if "/." in path}  # hidden directories are made when needed
    made.add("tests/wire/lantern/")  # the made-up provider of the how-to
    assert [path for path in sorted(named - made) if not list(ROOT.glob(path.rstrip("/")))] == []


def test_the_reference_says_what_the_code_says() -> None:
    assert reference.stale() == [], "run `make docs`"


def test_the_http_reference_names_every_header_of_ours() -> None:
    page = (reference.PAGES / "http.md").read_text(encoding="utf-8").lower()
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/potluck/server").rglob("*.py"))
    sent = set(re.findall(r"x-potluck-[a-z]+(?:-[a-z]+)*", code))
    assert sent
    assert [name for name in sorted(sent) if name not in page] == []


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    text = (ROOT / "docs" / "picture.svg").read_text(encoding="utf-8")
    assert re.findall(r"(?:href|src)=|@import|url\((?!#)", text) == []
    assert "prefers-color-scheme: dark" in text
    assert os.path.getsize(ROOT / "docs" / "picture.svg") < 10_000
