"""The built wheel, installed away from the checkout and used from there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """The wheel has every module, the type marker, the licence and the completion scripts, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "openai_batch").rglob("*.py")}
    assert modules <= set(names)
    assert "openai_batch/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for script in (
        "bash-completion/completions/obatch",
        "zsh/site-functions/_obatch",
        "fish/vendor_completions.d/obatch.fish",
    ):
        assert any(name.endswith(script) for name in names)
    assert {name.split("/")[0] for name in names if ".d" not in name.split("/")[0]} == {"openai_batch"}


def test_installed_wheel_works_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """From the installed wheel the command, the old programs and the library's names work outside the tree."""
    target = tmp_path / "site"
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(words, check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(target)}

    def run(*args: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(
        "-c", "import openai_batch; from openai_batch import *; print(openai_batch.__file__, Batch, data_url, wait)"
    )
    assert where.startswith(str(target))
    assert run("-m", "openai_batch", "--version").startswith("obatch ")
    prompts = run("-m", "openai_batch.example_prompts", "-n", "3")
    lines = run("-m", "openai_batch.create_batch", "--model", "gpt-4o-mini", stdin=prompts)
    assert len(lines.splitlines()) == 3
    (tmp_path / "input.jsonl").write_text(lines, encoding="utf-8")
    run("-m", "openai_batch", "check", "input.jsonl")
    run("-m", "openai_batch.run", "--dry-run", "input.jsonl")
