"""A plugin for the tests of openai-python: examples of ids become ids that exist, and each failure keeps its reason."""

from __future__ import annotations

import contextlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from openai._base_client import BaseClient

URL = os.environ["TEST_API_BASE_URL"]
IDS: dict[str, str] = {}
CASES: dict[str, tuple[bool, str]] = {}
ANSWERS = re.compile(r"resp_677efb5139a88190b512bc3fef8e535d|resp_123|response_id|previous_response_id")


def post(path: str, body: bytes, kind: str = "application/json") -> str:
    asked = urllib.request.Request(f"{URL}{path}", body, {"content-type": kind})
    with urllib.request.urlopen(asked) as answer:
        return str(json.load(answer)["id"])


def upload() -> str:
    line = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/responses",
        "body": {"model": "auto", "input": "Soup"},
    }
    head = '--x\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    form = head.format("purpose", "", "batch") + head.format("file", '; filename="a.jsonl"', json.dumps(line))
    return post("/files", f"{form}--x--\r\n".encode(), "multipart/form-data; boundary=x")


@pytest.fixture(autouse=True)
def things(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the test's file talks about exists before it: made through the gateway like anything else."""
    name, IDS["model"] = request.node.nodeid, ""
    if "respx2_mock" in request.fixturenames:  # answered inside the test, with the example's id
        yield
        return
    if "test_files" in name:
        IDS["file_id"] = IDS["after"] = upload()
    if "test_batches" in name:
        IDS["input_file_id"] = file = upload()
        batch = {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}
        IDS["batch_id"] = IDS["after"] = post("/batches", json.dumps(batch).encode())
    if "responses" in name:
        IDS["response"] = post("/responses", b'{"model": "auto", "input": "Soup"}')
    yield
    if "batch_id" in IDS:
        with contextlib.suppress(urllib.error.HTTPError):  # a key has a few unfinished batches, and no more
            post(f"/batches/{IDS['batch_id']}/cancel", b"")
    IDS.clear()


def exists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: exists(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    if "response" in IDS:
        return ANSWERS.sub(IDS["response"], value)
    return IDS.get(value, value)


built = BaseClient._build_request


def build(self: BaseClient[Any, Any], options: Any, **more: Any) -> Any:
    options.url = "/".join(
        exists(part) if part not in ("responses",) else part for part in options.url.split("/")
    )
    options.json_data = exists(options.json_data)
    options.params = exists(options.params)
    return built(self, options, **more)


BaseClient._build_request = build


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call" or report.failed:
        why = "" if report.passed else reason(call.excinfo.value if call.excinfo else None)
        CASES[item.nodeid] = (report.passed, why)
    return report


def reason(error: BaseException | None) -> str:
    """The gateway's sentence, without what differs from test to test."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    text = f"{getattr(error, 'status_code', '')} {said or type(error).__name__ + ': ' + str(error)}"
    return re.sub(r"(file-|batch_|resp_|chatcmpl-)[0-9a-f]+", r"\1…", " ".join(text.split()))[:220]


def pytest_sessionfinish() -> None:
    failed = [{"name": name, "why": why} for name, (ok, why) in CASES.items() if not ok]
    every = [(name, ok) for name, (ok, _) in CASES.items()]
    report = {"passed": len(CASES) - len(failed), "failed": failed, "all": every}
    with open(os.environ["REPORT"], "w") as file:
        json.dump(report, file)
