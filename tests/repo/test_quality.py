"""The rules of the repository: lint, format, types, generated files and documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openai_batch import errors

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("lint-imports",),
        ("zizmor", "--offline", "--quiet", ".github"),
    ],
    ids=["lint", "format", "types", "imports", "workflows"],
)
def test_tool_finds_nothing(words: tuple[str, ...]) -> None:
    """The linter, the formatter, the type checker, the import rules and the check of workflows report nothing."""
    tool = Path(sys.executable).with_name(words[0])
    done = subprocess.run([tool, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pyright_finds_nothing_in_programs_of_users(tmp_path: Path) -> None:
    """In strict mode, pyright reports nothing in programs of users, and finds a wrong type."""
    programs = sorted((ROOT / "tests").glob("*/typing_*.py"))
    assert len(programs) >= 3
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from openai_batch import Job\n\ndef f(job: Job) -> int:\n    return job.status\n", encoding="utf-8"
    )
    config = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps(config | {"include": [str(each) for each in (*programs, wrong)]}), encoding="utf-8")
    tool = Path(sys.executable).with_name("basedpyright")
    words = [str(tool), "--level", "error", "--project", str(settings), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, encoding="utf-8", cwd=tmp_path)
    told = json.loads(done.stdout)["generalDiagnostics"]
    assert [(Path(each["file"]).name, each["rule"]) for each in told] == [("wrong.py", "reportReturnType")], told


@pytest.mark.slow
def test_every_public_symbol_has_a_type_and_a_docstring() -> None:
    """Pyright finds a type for every public symbol, and a docstring for every public function."""
    tool = Path(sys.executable).with_name("basedpyright")
    words = [
        str(tool),
        "--verifytypes",
        "openai_batch",
        "--ignoreexternal",
        "--outputjson",
        "--pythonpath",
        sys.executable,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, encoding="utf-8", cwd=ROOT)
    told = json.loads(done.stdout)["typeCompleteness"]
    assert told["exportedSymbolCounts"]["withUnknownType"] == told["otherSymbolCounts"]["withUnknownType"] == 0
    assert told["missingFunctionDocStringCount"] == 0


def test_the_exit_codes_are_those_of_the_error_classes() -> None:
    """`obatch help exit-codes`, from which the page is made, has the exit codes of the error classes."""
    from openai_batch.cli.help_topics import EXIT_CODES

    told = {int(code) for codes in EXIT_CODES for code in codes.split(",")}
    raised = {getattr(errors, name).exit_code for name in errors.__all__}
    assert told == raised | {0, 143}


def test_every_environment_variable_is_documented() -> None:
    """`obatch help environment`, from which the page is made, has each environment variable that the code reads.

    `obatch help notify` has the variables that are set for the command of the user.
    """
    from openai_batch.cli.help_topics import TOPICS, VARIABLES

    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "openai_batch").rglob("*.py"))
    read = set(re.findall(r"""["'](OBATCH_[A-Z_]+)["']""", code))
    assert "OBATCH_STATE_DIR" in read
    assert read - set(re.findall("OBATCH_[A-Z_]+", TOPICS["notify"])) <= set(VARIABLES)


def test_every_option_that_the_pages_show_exists() -> None:
    """Examples in the README and in docs/ use existing commands and options."""
    from openai_batch.cli.completion_scripts import read_commands

    commands = {command.name.split()[0] for command in read_commands() if command.name}
    known = {name for command in read_commands() for option in command.options for name in option.names}
    shown: set[str] = set()
    used: set[str] = set()
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for found in re.findall(r"(?:^\$ |[`;|] ?)obatch ([^\n`|#>]*)", text, re.MULTILINE):
            found = re.sub(r"'[^']*('|$)", "", found)  # noqa: PLW2901 - the quoted text is for other programs
            used |= set(re.findall(r"^[a-z]+", found))
            shown |= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", found.split(" | ")[0]))
    assert len(used) > 10
    assert used <= commands | {"list"}, used - commands
    assert shown <= known, shown - known


def test_a_hint_can_be_pasted() -> None:
    """A hint that begins with a command contains nothing else; in a longer hint the command is in backticks."""
    found = []
    for path in ROOT.glob("openai_batch/**/*.py"):
        found += re.findall(r'\bhint\b[^"\n]*"(obatch [^"]*)"', path.read_text("utf-8"))
    assert len(found) > 10
    for hint in found:
        words = re.sub(r"{[^}]*}", "1", hint).split()[2:]
        plain = [word for before, word in zip(["", *words], words, strict=False) if not before.startswith("-")]
        assert set(filter(str.islower, filter(str.isalpha, plain))) <= {"show", "edit", "set"}, hint
        assert not re.search("[,;:]", hint), hint


def test_completion_scripts_are_current() -> None:
    """The files in completions/ are current."""
    from openai_batch.cli.completion_scripts import scripts

    for name, text in scripts().items():
        assert (ROOT / "completions" / name).read_text(encoding="utf-8") == text, (
            "run: python -m openai_batch.cli.completion_scripts completions"
        )


def test_the_version_is_in_the_changelog() -> None:
    """The version of the package has an entry in the changelog."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
