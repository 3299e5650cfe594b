"""The recipes for other engines in the guide answer an exported table, and the answers can be imported.

OBATCH_TEST_DAFT and OBATCH_TEST_RAY can name a Python that has the engine.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment, inside, request, write
from support.pages import ROOT
from support.servers import echo_upstream

GUIDE = ROOT / "docs/guides/results-made-elsewhere.md"
ENGINES = {"daft": "OBATCH_TEST_DAFT", "ray": "OBATCH_TEST_RAY"}


@pytest.mark.engine
@pytest.mark.parametrize("engine", ENGINES)
def test_a_recipe_answers_the_exported_requests(
    engine: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request has an answer, or the error of the server."""
    python = os.environ.get(ENGINES[engine]) or (sys.executable if importlib.util.find_spec(engine) else None)
    if python is None:
        pytest.skip(f"{engine} is not installed; {ENGINES[engine]} names a Python that has it")
    monkeypatch.chdir(tmp_path)
    asked = [request(f"r{n}", "echo-1", f"ask {n}") for n in range(20)] + [request("bad", "echo-1", "!status=400")]
    write("input.jsonl", asked)
    inside("export", "input.jsonl", "-o", "requests.parquet").succeeded()
    with echo_upstream() as echo:
        title = f'```python title="answers_{engine}.py"\n'
        program = re.search(f"{re.escape(title)}(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
        assert program is not None
        Path("answers.py").write_text(program[1].replace("http://127.0.0.1:8000/v1", echo.base_url), encoding="utf-8")
        env = environment({"PYTHONPATH": None, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"})
        subprocess.run([python, "answers.py"], check=True, timeout=300, env=env)
    told = inside("import", "answers", "--input", "input.jsonl")
    assert (told.code, "21 answered: 20 succeeded, 1 failed" in told.err) == (5, True), told
    assert "400" in told.err
    assert home.is_dir()
