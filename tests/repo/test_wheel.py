"""The released files: builds are reproducible, contain only what they should, and work when installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]


def _build(folder: Path) -> Path:
    """Build the wheel and the source archive from the checkout, like the release."""
    words = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, env=env)
    return folder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel and the source archive."""
    return _build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def wheel(dist: Path) -> Path:
    """Return the wheel."""
    (built,) = dist.glob("*.whl")
    return built


def _tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    """The wheel contains the package, the completion scripts and the license, and nothing else."""
    names = {re.sub(r"^openai_batch-[^/]+\.", "", name) for name in zipfile.ZipFile(wheel).namelist()}
    assert "openai_batch/py.typed" in names
    assert names == {
        *_tracked("openai_batch"),
        *(
            f"dist-info/{name}"
            for name in (
                "METADATA",
                "RECORD",
                "WHEEL",
                "entry_points.txt",
                "licenses/LICENSE",
                "licenses/openai_batch/report/chart-LICENSE.md",
            )
        ),
        "data/data/share/bash-completion/completions/obatch",
        "data/data/share/zsh/site-functions/_obatch",
        "data/data/share/fish/vendor_completions.d/obatch.fish",
    }


def test_source_archive_holds_tracked_files_only(dist: Path) -> None:
    """The source archive contains only files of the repository."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names - {"PKG-INFO", ".gitignore"} <= _tracked()
    assert {"openai_batch/__init__.py", "tests/conftest.py", "pyproject.toml"} <= names


def test_two_builds_are_the_same(dist: Path, tmp_path: Path) -> None:
    """With the same SOURCE_DATE_EPOCH a second build in another folder gives the same bytes."""
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (dist, _build(tmp_path / "again"))
    )
    assert len(first) == 2
    assert first == second


def test_installed_wheel_works_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """The command, the programs of 0.3.4 and the public names work from the installed wheel, outside of the tree."""
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
    assert "https://api.groq.com/openai/v1" in run("-m", "openai_batch", "providers", "--all")
    run("-m", "openai_batch.run", "--dry-run", "input.jsonl")
