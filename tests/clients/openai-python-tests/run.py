"""openai-python's own resource tests, from its source distribution, against the gateway; what failed, and why.

The tests were written for a mock that answers any id with an example. Here a plugin (`existing.py`) puts ids of files,
batches and answers that exist in the place of those examples, each made through the gateway before the test; the
tests themselves are not touched. What fails is listed by the sentence that the gateway gave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from telling import HOME, URL, tell

BAR = 0.95
WANTED = ("chat", "responses", "test_completions.py", "test_responses.py", "test_embeddings.py")
WANTED += ("test_models.py", "test_files.py", "test_batches.py")


def main() -> None:
    sources = next(path for path in (Path(HOME) / "sources").iterdir() if path.is_dir())
    here, report = Path(__file__).parent, Path.home() / "report.json"
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=",
        "-p",
        "no:cacheprovider",
    ]
    argv += ["-p", "existing", "--tb=no", *(f"tests/api_resources/{name}" for name in WANTED)]
    more = {"TEST_API_BASE_URL": f"{URL}/v1", "REPORT": str(report)}
    more["PYTHONPATH"] = f"{here}:{os.environ['PYTHONPATH']}"
    done = subprocess.run(
        argv, cwd=sources, env=os.environ | more, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or not report.exists():
        tell("tests", False, f"{done.stdout[-300:]} {done.stderr[-300:]}")
        return
    results = json.loads(report.read_text())
    passed, failed = results["passed"], results["failed"]
    ran = passed + len(failed)
    reasons = [
        {"tests": n, "reason": why} for why, n in Counter(each["why"] for each in failed).most_common()
    ]
    groups: dict[str, list[int]] = {}
    for name, ok in results["all"]:
        counts = groups.setdefault(name.split("api_resources/")[1].split("::")[0], [0, 0])
        counts[0] += ok
        counts[1] += 1
    share = round(passed / ran, 4)
    figures = {"passed": passed, "ran": ran, "share": share, "groups": groups, "not_passed": reasons}
    tell("tests", share >= BAR, f"{passed} of {ran}", **figures)


main()
