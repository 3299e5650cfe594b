"""Completion, `--version` and local commands import few modules, so that they start fast."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.command import environment, request, write

HEAVY = (
    "typer",
    "rich",
    "openai",
    "pydantic",
    "sqlite3",
    "msgspec",
    "aiohttp",
    "starlette",
    "tomlkit",
    "apprise",
    "keyring",
)


def loaded(*words: str) -> set[str]:
    """Run `obatch` with `words`, and return the top-level modules that it has imported at its end."""
    script = f"""
import json, sys, atexit
sys.argv = {["obatch", *words]!r}
names = lambda: sorted({{name.partition(".")[0] for name in sys.modules}})
atexit.register(lambda: print(json.dumps(names()), file=sys.stderr))
from openai_batch.__main__ import main
sys.exit(main())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("kind", ["jobs", "providers"])
def test_completion_imports_only_the_standard_library(kind: str) -> None:
    """Completion imports only the standard library and this package."""
    foreign = {name for name in loaded("__complete", kind, "") if name not in sys.stdlib_module_names}
    allowed = {"openai_batch", "__main__", "sitecustomize"}  # Debian's Python has the last one
    assert {name for name in foreign - allowed if not name.startswith(("_", "distutils"))} == set()


def test_the_version_imports_no_slow_module() -> None:
    """`--version` imports neither typer, rich, openai, pydantic nor sqlite3."""
    assert loaded("--version").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "--json"],
        ["config", "show"],
        ["config", "path"],
        ["providers"],
        ["check", "in.jsonl", "-p", "openai"],
        ["prepare", "prompts.txt", "-m", "gpt-4o-mini"],
        ["submit", "in.jsonl", "-p", "openai", "-n"],
        ["-h"],
    ],
)
def test_local_commands_do_not_import_the_sdk(words: list[str]) -> None:
    """Commands that send no request do not import the openai package, which takes longer than everything else."""
    write("in.jsonl", [request("a")])
    write("prompts.txt", ["a prompt"])
    assert loaded(*words).isdisjoint({"openai", "aiohttp", "starlette", "httpx", "xllamacpp"})


def test_importing_the_package_is_light() -> None:
    """`import openai_batch` imports neither openai, pydantic, typer, rich nor sqlite3."""
    script = "import openai_batch, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in json.loads(done.stdout)}.isdisjoint(HEAVY)
