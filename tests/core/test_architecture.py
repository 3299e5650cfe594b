"""Imports point one way, each outside thing has one door, and files stay small."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openai_batch
from openai_batch import errors

PACKAGE = Path(openai_batch.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
SHIMS = {
    "run",
    "create_batch",
    "create_batch_input",
    "create_input",
    "example_prompts",
    "_entry",
    "_example",
    "__main__",
}
SPEAKING = {*SHIMS, "local/engine_process", "batch"}
"""Programs; and `batch`, one method of which prints the status as it did in 0.3.4."""

DOORS = {
    "openai": r"_api|_api_errors|_client",
    "sqlite3": r"_registry|_sql|_unique|_complete|_spared|local/store",
    "typer": r"cli/.*",
    "rich": r"cli/.*",
    "platformdirs": r"_paths",
    **dict.fromkeys(("starlette", "uvicorn", "python_multipart", "multipart", "aiohttp", "xllamacpp"), r"local/.*"),
    **dict.fromkeys(("httpx", "httpx2", "click", "httpcore", "httpcore2"), r"(?!)"),
}

# From the bottom up: a module may import its own layer and those below, never one above.
LAYERS = (
    r"errors",
    r"(?!)",  # the core: every module that is not named elsewhere
    r"_registry|local/.*|_config_file|_api_keys|_emergency",
    r"_client|_profile|_builtin|_config|providers|_api|_api_errors|_complete",
    r"_submit|_order|_save|_ready|_submission",
    (
        r"_workflow|_cancel|_session|_follow|_collect|_recover|_retry|_reuse|_job_submit|_order|_output|_connections"
        r"|_make_requests|_check_input|_download_results|_result_order|_missing_rows"
    ),
    r"batch|jobs|__init__|_entry|_program|run|create_batch|create_batch_input|create_input|example_prompts",
    r"cli/.*",
    r"__main__",
)
CORE = 1


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a file of the package."""
    return ast.parse((PACKAGE / path).read_bytes())


def name_of(path: Path) -> str:
    """Return a file's module below the package, with slashes."""
    return path.with_suffix("").as_posix()


def imports(path: Path, *, types: bool = True) -> set[str]:
    """Return the modules that a file imports anywhere: `openai_batch/x` for ours, the top name for others.

    Without `types` those are left out that only a type checker follows.
    """
    found: set[str] = set()
    nodes: list[ast.AST] = [tree(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = Path("openai_batch", *path.parts)
            for _ in range(node.level):
                base = base.parent
            module = "/".join([*(base.parts if node.level else ()), *(node.module or "").split(".")]).rstrip("/")
            found.add(module)
            found.update(f"{module}/{alias.name}" for alias in node.names if exists(f"{module}/{alias.name}"))
    return {item if item.startswith("openai_batch") else item.split("/")[0] for item in found}


def exists(module: str) -> bool:
    """Tell whether a module of ours has that path."""
    path = PACKAGE.parent / module
    return module.startswith("openai_batch/") and (path.with_suffix(".py").exists() or path.is_dir())


def layer(name: str) -> int:
    """Return the place of a module in LAYERS."""
    return next((place for place, names in enumerate(LAYERS) if re.fullmatch(names, name)), CORE)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_each_outside_thing_has_one_door(path: Path) -> None:
    """Only the modules named in DOORS import what is not ours; and nobody what is not for us at all."""
    for module in imports(path, types=False):
        if module in DOORS:
            assert re.fullmatch(DOORS[module], name_of(path)), f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    """cli, then workflow, then registry, configuration and API, then the core, then errors; never upwards."""
    mine = layer(name_of(path))
    for module in imports(path, types=False):
        other = module.removeprefix("openai_batch").strip("/")
        if not module.startswith("openai_batch") or not other:
            continue
        if (PACKAGE / other).is_dir():
            other = f"{other}/__init__"
        assert layer(other) <= mine, f"{path} imports {module}: is it in the right one of LAYERS?"


def test_only_the_entry_imports_the_command_line() -> None:
    """`cli` is a leaf: nothing of the library needs it."""
    users = {
        name_of(path)
        for path in FILES
        if path.parts[0] != "cli" and any(module.startswith("openai_batch/cli") for module in imports(path))
    }
    assert users == {"__main__"}


def called(path: Path) -> set[str]:
    """Return what a file calls or names, as dotted text."""
    nodes = ast.walk(tree(path))
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute | ast.Name)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_does_not_print_ask_or_exit(path: Path) -> None:
    """Only the command line and the old programs speak to a person."""
    if path.parts[0] == "cli" or name_of(path) in SPEAKING or path.name == "__main__.py":
        return
    calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    assert not calls & {"print", "input", "sys.exit", "exit", "quit", "getpass.getpass"}, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_environment_is_read_in_few_places(path: Path) -> None:
    """What depends on the environment can be found."""
    if re.fullmatch(r"_api_keys|_paths|cli/.*|local/.*", name_of(path)) or name_of(path) in SHIMS:
        return
    assert not called(path) & {"os.environ", "os.getenv", "environ", "getenv"}, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_small_and_speak(path: Path) -> None:
    """Under 500 lines, and a docstring says what the file holds."""
    assert len((PACKAGE / path).read_text().splitlines()) < 500, path
    assert ast.get_docstring(tree(path)), path


def test_the_exit_codes_are_those_of_the_docstring() -> None:
    """The table at the head of errors.py names every class with its own code, below its own parent."""
    told = re.findall(r"^ {4}([│├└─ ]*)(\w+Error)\s+(\d+)\s", str(errors.__doc__), re.MULTILINE)
    classes = {name: getattr(errors, name) for name in errors.__all__}
    assert {name: int(code) for _, name, code in told} == {name: kind.exit_code for name, kind in classes.items()}
    parents: list[str] = []
    for indent, name, _ in told:
        depth = len(indent) // 4
        assert depth == 0 or classes[name].__bases__[0].__name__ == parents[depth - 1], name
        parents[depth:] = [name]


@pytest.mark.parametrize(
    "module", ["openai_batch", "openai_batch._workflow", "openai_batch._collect", "openai_batch.batch"]
)
def test_importing_the_library_is_light(module: str) -> None:
    """The SDK, the command line's and the server's libraries are imported when they are needed, not before."""
    code = f"import sys, {module}; print(*(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["openai", "typer", "rich", "starlette", "uvicorn", "aiohttp", "xllamacpp", "pydantic", "PIL", "asyncio"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
