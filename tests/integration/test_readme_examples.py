"""Every Python example of the README runs as it stands, twice, and nothing is paid a second time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openai_batch.testing import fake_provider

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def answer(request: dict[str, Any]) -> str:
    """Answer with an object if one is asked for."""
    fields = {"sentiment": "good", "reason": "it says so"}
    return json.dumps(fields) if "response_format" in request["body"] else f"re {request['custom_id']}"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_and_pays_once(number: int, tmp_path: Path) -> None:
    """`Batch`, which keeps no record, is the one that pays each time, and the README says so."""
    program = tmp_path / "test_program.py"
    program.write_text(EXAMPLES[number], encoding="utf-8")
    (tmp_path / "reviews.csv").write_text("text\nGreat\nBroken\n", encoding="utf-8")
    tests = "def test_" in EXAMPLES[number]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly"] if tests else [sys.executable]
    with fake_provider(answer) as fake:
        for _ in range(2):
            done = subprocess.run([*words, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        made = len(fake.batches)
    assert made == (0 if tests else 2 if "import Batch" in EXAMPLES[number] else 1)
    assert done.stdout.strip()
