"""Imports, output and size of files: rules of the architecture. Layers are checked by `lint-imports`."""

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
PROGRAMS = {"run", "create_batch", "create_batch_input", "create_input", "example_prompts", "__main__"}
SPEAKING = {
    *PROGRAMS,
    "batch/program",
    "inputs/example",
    "local/engine_process",
    "local/__main__",
    "cluster/ray_driver",
}
SPEAKING |= {"cluster/ray_driver", "batch/batch", "batch/wait"}
"""Programs, and functions that print the status as in 0.3.4."""

HOMES = {
    "openai": r"providers/(openai_api|api_errors|client)",
    "sqlite3": r"jobs/store/(database|registry|completion|reused_answers)|inputs/sql|requests/unique_ids|local/store",
    "typer": r"cli/.*",
    "rich": r"cli/.*|frames/progress",
    "narwhals": r"frames/tables",
    "jsonschema_rs": r"requests/json_schema",
    "pydantic": r"frames/schema|requests/answer_types",
    "genai_prices": r"costs/prices",
    "tiktoken": r"costs/tokens",
    **dict.fromkeys(("pandas", "polars", "pyarrow", "datasets", "numpy"), r"(?!)"),
    "platformdirs": r"files/paths",
    "tomlkit": r"providers/config_edit",
    "keyring": r"providers/keys",
    "apprise": r"jobs/notify",
    **dict.fromkeys(("obstore", "botocore", "boto3"), r"files/object_store"),
    **dict.fromkeys(("starlette", "uvicorn", "python_multipart", "multipart", "aiohttp", "xllamacpp"), r"local/.*"),
    **dict.fromkeys(("httpx", "httpx2", "click", "httpcore", "httpcore2"), r"(?!)"),
}
"""The files that may import an external package; the pattern `(?!)` means none."""


@functools.cache
def tree(path: Path) -> ast.Module:
    """Parse a file of the package."""
    return ast.parse((PACKAGE / path).read_bytes())


def name_of(path: Path) -> str:
    """Return a file's module name below the package, with slashes."""
    return path.with_suffix("").as_posix()


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports at run time."""
    found: set[str] = set()
    nodes: list[ast.AST] = [tree(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_external_packages_are_imported_in_few_files(path: Path) -> None:
    """External packages are imported only in the files in HOMES."""
    for package in imported(path) & HOMES.keys():
        assert re.fullmatch(HOMES[package], name_of(path)), f"{path} imports {package}"


def called(path: Path) -> set[str]:
    """Return the names that a file uses, as dotted text."""
    nodes = ast.walk(tree(path))
    return {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute | ast.Name)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_library_does_not_print_ask_or_exit(path: Path) -> None:
    """Only the command line and the programs of 0.3.4 print, ask or exit."""
    if path.parts[0] == "cli" or name_of(path) in SPEAKING:
        return
    calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    assert not calls & {"print", "input", "sys.exit", "exit", "quit", "getpass.getpass"}, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_environment_is_read_in_few_places(path: Path) -> None:
    """Environment variables are read in a few files only."""
    if (
        re.fullmatch(
            r"providers/(keys|config)|files/(paths|lines|object_store)|net/fetch|cli/.*|local/.*"
            r"|cluster/(run_worker|launchers/command)|testing/provider",
            name_of(path),
        )
        or name_of(path) in SPEAKING
    ):
        return
    assert not called(path) & {"os.environ", "os.getenv", "environ", "getenv"}, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_small_and_documented(path: Path) -> None:
    """A file has less than 500 lines, and a docstring."""
    assert len((PACKAGE / path).read_text().splitlines()) < 500, path
    assert ast.get_docstring(tree(path)), path


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name == "__init__.py" and path.parent.name], ids=name_of
)
def test_a_subpackage_has_a_useful_docstring(path: Path) -> None:
    """The docstring of a subpackage says what it may import, and where to start reading."""
    told = ast.get_docstring(tree(path)) or ""
    assert "May import:" in told, path
    assert "Start reading at" in told, path


def test_the_exit_codes_are_those_of_the_docstring() -> None:
    """The table in the docstring of errors.py has every class with its exit code, below its parent."""
    told = re.findall(r"^ {4}([│├└─ ]*)(\w+Error)\s+(\d+)\s", str(errors.__doc__), re.MULTILINE)
    classes = {name: getattr(errors, name) for name in errors.__all__}
    assert {name: int(code) for _, name, code in told} == {name: kind.exit_code for name, kind in classes.items()}
    parents: list[str] = []
    for indent, name, _ in told:
        depth = len(indent) // 4
        assert depth == 0 or classes[name].__bases__[0].__name__ == parents[depth - 1], name
        parents[depth:] = [name]


@pytest.mark.parametrize(
    "module",
    ["openai_batch", "openai_batch.jobs.workflow", "openai_batch.jobs.collect", "openai_batch.batch.batch"],
)
def test_importing_the_library_is_light(module: str) -> None:
    """The SDK and the libraries of the command and the server are imported only when they are needed."""
    code = f"import sys, {module}; print(*(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["openai", "typer", "rich", "starlette", "uvicorn", "aiohttp", "xllamacpp", "pydantic", "PIL", "asyncio"]
    heavy += ["genai_prices", "tiktoken", "jsonschema_rs"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_decoders_of_a_struct_are_made_when_their_module_is_imported(path: Path) -> None:
    """Two threads that use a Struct for the first time at once crash msgspec, so decoders are made at import."""
    found = []
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for call in (node for function in functions for node in ast.walk(function) if isinstance(node, ast.Call)):
        kinds = (
            [each.value for each in call.keywords if each.arg == "type"] if "decode" in ast.unparse(call.func) else []
        )
        if ast.unparse(call.func).endswith(".Decoder"):
            kinds += call.args
        names = {name.id for kind in kinds for name in ast.walk(kind) if isinstance(name, ast.Name)}
        found += sorted(names - {"dict", "list", "tuple", "str", "int", "Any", "msgspec"})
    # The index reads each line with a Struct whose first decoder is made at import.
    assert not set(found) - ({"TypedLine"} if name_of(path) == "results/index" else set()), found
