"""`potluck batches`: hand in many requests at once, see how far they are, fetch the answers.

Rules: everything goes over HTTP to the gateway that runs, as any client would; results go to a file or to stdout.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potluck.cli import options

if TYPE_CHECKING:
    from potluck.cli.running import Running

batches = typer.Typer(
    no_args_is_help=True, help="Many requests at once, in the background, on what the quotas have left over."
)

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
PAGE = 100  # batches asked for at a time
WATCH = 1.0  # seconds between two looks
_COLOURS = {"completed": "green", "failed": "red", "expired": "red", "cancelled": "yellow"}


def _ids(incomplete: str) -> list[str]:
    """The batches the running gateway knows, the newest first."""
    from potluck.errors import PotluckError

    try:
        found = options.gateway(None).get(f"/v1/batches?limit={PAGE}", seconds=options.COMPLETE_SECONDS)
        return [str(one["id"]) for one in found["data"] if str(one["id"]).startswith(incomplete)]
    except (PotluckError, KeyError, TypeError):
        return []


def _endpoints(incomplete: str) -> list[str]:
    return [one for one in ENDPOINTS if one.startswith(incomplete)]


Id = Annotated[str, typer.Argument(metavar="BATCH", help="Its id.", autocompletion=_ids)]


@batches.command("list")
def list_batches(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=PAGE, help="How many.")] = 20,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show your batches, the newest first."""
    from potluck.cli.show import console, emit, note, table

    found = options.gateway(config).get(f"/v1/batches?limit={limit}")["data"]
    if json:
        emit(found)
        return
    if not found:
        note("There are no batches. `potluck batches submit FILE.jsonl` hands one in.")
        return
    shown = table("Batch!", "Status!", "", "Done>!", "Failed>!", "Made!", "Ends by!")
    now = time.time()
    for one in found:
        done, failed, total = _counts(one)
        shown.add_row(
            one["id"], _status(one), _bar(one), f"{done + failed:,}/{total:,}", f"{failed:,}" if failed else "",
            f"{_ago(now - one['created_at'])}", _left(one, now),
        )  # fmt: skip
    console().print(shown)


@batches.command("show")
def show_batch(
    batch: Id,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until it has ended.")] = False,
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Show how far one is, and what went wrong."""
    from potluck.cli.show import console, emit

    gateway = options.gateway(config)
    found = _watched(gateway, batch) if watch and not json else gateway.get(f"/v1/batches/{_safe(batch)}")
    if json:
        emit(found)
        return
    for text in _lines(found):
        console().print(text)


@batches.command("submit")
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="OpenAI's batch input.", exists=True, dir_okay=False)
    ],
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", help="What every line asks.", autocompletion=_endpoints)
    ] = ENDPOINTS[0],
    window: Annotated[
        str, typer.Option("--window", help="By when it is to be done: 24h, or any time from 1m to 7d.")
    ] = "24h",
    json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Upload a file of requests and start it; the id of the batch goes to stdout."""
    from potluck.cli.show import emit, note

    gateway = options.gateway(config)
    uploaded = gateway.upload(file.name, file.read_bytes(), "batch")
    asked = {"input_file_id": uploaded["id"], "endpoint": endpoint, "completion_window": window}
    made = gateway.post("/v1/batches", asked)
    if json:
        emit(made)
        return
    note("It runs while the gateway does. [bold]potluck batches show --watch[/] shows how far it is.")
    print(made["id"])


@batches.command("cancel")
def cancel(batch: Id, json: options.Json = False, config: options.Config = None) -> None:
    """Stop one within seconds; what was answered is kept."""
    from potluck.cli.show import emit, escape, note

    found = options.gateway(config).post(f"/v1/batches/{_safe(batch)}/cancel", {})
    if json:
        emit(found)
    else:
        note(
            f"[bold]{escape(found['id'])}[/] is being cancelled; `potluck batches results` has what was answered."
        )


@batches.command("results")
def results(
    batch: Id,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout if not said.")
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="The lines that failed instead.")] = False,
    config: options.Config = None,
) -> None:
    """Fetch the answers of one that has ended, a JSON line each."""
    import sys

    from potluck.cli.show import escape, note
    from potluck.errors import NotFound

    gateway = options.gateway(config)
    found = gateway.get(f"/v1/batches/{_safe(batch)}")
    file = found["error_file_id" if errors else "output_file_id"]
    if not file:
        what = "failed lines" if errors else "answers"
        raise NotFound(
            f"The batch is {found['status']}: its answers can be fetched when it has ended."
            if found["status"] in RUNNING
            else f"This batch has no {what}. `potluck batches show {found['id']}` says what became of it."
        )
    content = gateway.fetch(f"/v1/files/{file}/content")
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    output.write_bytes(content)
    count = content.count(b"\n")
    note(f"{count:,} lines are in {escape(str(output))}.")


def _watched(gateway: Running, batch: str) -> Any:
    """The batch when it has ended, its progress shown until then."""
    from rich.live import Live

    from potluck.cli.show import notes

    found = gateway.get(f"/v1/batches/{_safe(batch)}")
    with Live(_progress(found), console=notes(), transient=True, refresh_per_second=4) as live:
        while found["status"] in RUNNING:
            time.sleep(WATCH)
            found = gateway.get(f"/v1/batches/{_safe(batch)}")
            live.update(_progress(found))
    return found


def _progress(found: dict[str, Any]) -> str:
    done, failed, total = _counts(found)
    return f"{_bar(found, 30)} {done + failed:,}/{total:,} {_status(found)}"


def _lines(found: dict[str, Any]) -> list[str]:
    from potluck.cli.show import escape

    _, failed, _ = _counts(found)
    said = [f"[bold]{escape(found['id'])}[/]  {_progress(found)}"]
    said.append(
        f"[dim]{escape(found['endpoint'])}, {escape(found['model'] or 'no model yet')}, {_left(found, time.time())}[/]"
    )
    if failed:
        said.append(f"[yellow]{failed:,} failed:[/] potluck batches results --errors {escape(found['id'])}")
    for one in (found["errors"] or {"data": []})["data"]:
        where = f"line {one['line']}: " if one["line"] else ""
        said.append(f"[red]{where}{escape(one['message'])}[/]")
    usage = found.get("usage")
    if usage:
        said.append(f"[dim]{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out[/]")
    return said


def _counts(found: dict[str, Any]) -> tuple[int, int, int]:
    counts = found["request_counts"]
    return counts["completed"], counts["failed"], counts["total"]


def _status(found: dict[str, Any]) -> str:
    status = found["status"]
    return f"[{_COLOURS.get(status, 'cyan')}]{status.replace('_', ' ')}[/]"


def _bar(found: dict[str, Any], width: int = 10) -> str:
    """Progress, unlike `show.bar`, is no scarcity: it does not turn red while it is short."""
    done, failed, total = _counts(found)
    filled = (done + failed) * width // total if total else 0
    return f"[green]{'█' * filled}[/][dim]{'░' * (width - filled)}[/]"


def _left(found: dict[str, Any], now: float) -> str:
    from potluck.cli.show import duration

    if found["status"] in RUNNING:
        return f"within {duration(max(0.0, found['expires_at'] - now))}"
    return "ended"


def _ago(seconds: float) -> str:
    from potluck.cli.show import duration

    return f"{duration(max(1.0, seconds))} ago"


def _safe(batch: str) -> str:
    """An id as a part of a path, whatever was typed."""
    from urllib.parse import quote

    return quote(batch.strip(), safe="")
