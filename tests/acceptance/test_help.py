"""Help, usage errors, and one meaning for each flag on every command."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from support.command import COMMAND, Terminal, environment, inside, invoke, plain, request, see, write

import openai_batch
from openai_batch import errors
from openai_batch.cli.app import EPILOG, build_app
from openai_batch.cli.help_pages import page

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves() -> Iterator[tuple[str, Any]]:
    """Yield every command that is not only a group, with its name."""

    def walk(node: Any, words: list[str]) -> Iterator[tuple[str, Any]]:
        children = getattr(node, "commands", {})
        if words and (not children or node.invoke_without_command):
            yield " ".join(words), node
        for name, child in children.items():
            yield from walk(child, [*words, name])

    yield from walk(typer.main.get_command(build_app()), [])


LEAVES = dict(leaves())


@pytest.mark.parametrize("words", ["", "providers", "config", *LEAVES])
def test_every_command_has_help(words: str) -> None:
    """-h exits with code 0, prints plain text to a pipe, and shows at least two examples for each command."""
    result = invoke(*words.split(), "-h").succeeded()
    assert result.err == ""
    assert "\x1b" not in result.out
    if words and words != "list":
        examples = [
            line
            for line in result.out.splitlines()
            if line.strip().startswith(f"$ obatch {words.split(maxsplit=1)[0]}")
        ]
        assert len(examples) >= 2, result.out


def test_a_flag_has_one_meaning() -> None:
    """An option has the same short and long names in every command, and takes a value in all of them or in none."""
    meanings: dict[str, tuple[list[str], bool]] = {}
    for words, leaf in LEAVES.items():
        for parameter in leaf.params:
            if parameter.param_type_name == "option":
                for flag in parameter.opts:
                    if (words, flag) == (
                        "sample",
                        "-n",
                    ):  # a number of rows; `sample` has no --dry-run
                        continue
                    meaning = (sorted(parameter.opts), bool(parameter.is_flag))
                    assert meanings.setdefault(flag, meaning) == meaning, f"{flag} of {words}"
    for flag, other in (("-p", "--provider"), ("-o", "--output"), ("-q", "--quiet"), ("-n", "--dry-run")):
        assert meanings[flag][0] == [other, flag] or meanings[flag][0] == sorted([flag, other])


ALIKE = {
    "--output": "a file for results, or for requests",
    "--model": "the model of requests, or of jobs",
    "--force": "what would be refused to keep something safe",
    "--all": "nothing is left out",
    "--remote": "what is at the provider",
    "--api-key-env": "the variable with the key",
}
"""Options whose help differs between commands, each with its common meaning."""


def test_an_option_has_the_same_help_everywhere() -> None:
    """An option has the same help text in every command, except for those in ALIKE."""
    explained: dict[str, set[str]] = {}
    for leaf in LEAVES.values():
        for parameter in leaf.params:
            if parameter.param_type_name == "option":
                explained.setdefault(parameter.opts[0], set()).add(f"{parameter.metavar} {parameter.help}")
    assert {flag for flag, texts in explained.items() if len(texts) > 1} == set(ALIKE)


@pytest.mark.parametrize("words", sorted(LEAVES))
def test_reporting_commands_print_json(words: str) -> None:
    """Every command that reports or changes a job has --json."""
    flags = {flag for parameter in LEAVES[words].params for flag in parameter.opts}
    assert "--json" in flags or words in ("prepare", "serve", "worker", "config edit", "help")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["-h", "run -h", "help exit-codes"])
def test_help_at_a_terminal_and_in_a_pipe(words: str) -> None:
    """A terminal and a pipe get the same text; only a terminal that supports color gets bold headings."""
    seen, piped = see(*words.split(), columns=80).succeeded().out, invoke(*words.split()).succeeded().out
    assert "\x1b[1m" in seen
    assert plain(seen) == piped
    assert "\x1b" not in see(*words.split(), env={"NO_COLOR": "1"}).out
    assert "\x1b[1m" in invoke(*words.split(), env={"FORCE_COLOR": "1"}).out


def test_no_arguments_at_a_terminal_leave_no_escapes_in_a_file() -> None:
    """The help of `obatch` without arguments has no escape codes in a pipe, even with FORCE_COLOR."""
    result = invoke(env={"FORCE_COLOR": "1"})
    assert "\\x1b" not in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize("words", ["", *LEAVES])
def test_help_fits_80_columns(words: str) -> None:
    """No line is longer than 80 characters, no Python types are shown, and no example is broken."""
    shown = inside(*words.split(), "-h").succeeded().out
    assert max(map(len, shown.splitlines())) <= 80, shown
    for word in ("<", "bool", "list[", "[x>=", "int range", "..."):
        assert word not in shown.replace("[FILE]...", "").replace("]...", "").replace("FILE...", "").replace(
            "VALUE...", ""
        ).replace("ARGS...", "").replace("< prompts.txt", ""), (word, shown)
    assert "Documentation: https://" in shown.splitlines()[-1]
    examples = shown.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    for before, line in itertools.pairwise(examples):
        assert line.startswith("  $ obatch") or before.endswith("\\"), shown


def test_the_help_of_run_has_the_main_options_first() -> None:
    """The help of `run` has groups, and the first screen shows the main options."""
    lines = invoke("run", "-h").succeeded().out.splitlines()
    assert len(lines) < 90
    screen = "\n".join(lines[:24])
    for flag in ("FILE", "--output", "--provider", "--model", "--prompt", "--schema", "--dry-run"):
        assert flag in screen
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "Main options:"
    assert {"Input:", "Prompt and model:", "Output:", "Job:", "Never pay twice:", "Examples:"} <= set(headings)
    assert any("[default: 0]" in line for line in lines)


@pytest.mark.parametrize("words", sorted(set(LEAVES) - {"providers"}))  # `obatch help providers` is the topic
def test_help_of_a_command_by_its_name(words: str) -> None:
    """`obatch help CMD` prints the same as `obatch CMD -h`."""
    shown = inside(*words.split(), "-h").succeeded().out
    assert inside("help", *words.split()).succeeded().out == shown
    assert inside(*words.split(), "--help").succeeded().out == shown


@pytest.mark.parametrize(
    ("topic", "word"),
    [
        ("exit-codes", "124 "),
        ("templates", "{{ name }}"),
        ("providers", "OBATCH_PROVIDER"),
        ("environment", "OBATCH_STATE_DIR"),
    ],
)
def test_help_topics(topic: str, word: str) -> None:
    """Each topic fits into 80 columns, and has examples."""
    shown = invoke("help", topic).succeeded().out
    assert word in shown
    assert ".:" not in shown
    assert "$ obatch" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert topic in invoke("help", "-h").out


def test_the_reference_is_the_help() -> None:
    """`docs/cli.md` has the current help of every command."""
    reference = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page() == reference.read_text(encoding="utf-8"), "python -m openai_batch.cli.help_pages docs/cli.md"


def test_help_for_an_unknown_word() -> None:
    """The hint names the nearest command or topic."""
    inside("help", "exit-cods").failed(2, "no command or topic 'exit-cods'", "obatch help exit-codes")
    inside("help", "zzz").failed(2, "no command or topic 'zzz'", "topics: exit-codes")


def test_no_arguments_is_help() -> None:
    """`obatch` without arguments shows the commands and exits with code 2."""
    result = invoke()
    assert (result.code, result.out) == (2, "")
    assert "submit" in result.err
    shown = see()
    assert shown.code == 2
    assert "submit" in shown.out


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        ("statuz", "status"),
        ("stat", "status"),
        ("downlod", "download"),
        ("ls --jsn", "--json"),
        ("wait --timout 3", "--timeout"),
    ],
)
def test_typos_in_commands_and_options(words: str, suggestion: str) -> None:
    """An unknown command or option exits with code 2, and the nearest one is suggested."""
    result = invoke(*words.split())
    assert (result.code, result.out) == (2, "")
    assert suggestion in result.err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("-p x ls", "-p belongs after the command", "obatch ls -p x"),
        ("-px ls --json", "-p belongs after the command", "obatch ls -px --json"),
        ("--provider=x -q ls", "--provider belongs after the command", "obatch ls --provider=x -q"),
        ("--no-dedup run a.csv", "--no-dedup belongs after the command", "obatch run --no-dedup a.csv"),
        ("-o out.csv", "-o belongs after the command", "obatch COMMAND -o out.csv"),
        ("--missing f wait", "obatch wait has no option --missing", "obatch wait -h"),
        ("ls --version", "--version belongs before any command", "obatch --version"),
    ],
)
def test_an_option_in_the_wrong_place(words: str, message: str, hint: str) -> None:
    """The error says where the option belongs, and the hint is the corrected command."""
    inside(*words.split()).failed(2, message, hint)


def test_the_version_needs_nothing() -> None:
    """--version prints one line, also without a home folder."""
    for words in (["--version"], ["--version", "ls"]):
        result = invoke(
            *words, env={"HOME": "/nonexistent", "OBATCH_STATE_DIR": None, "OBATCH_CONFIG": None}
        ).succeeded()
        assert result.out.startswith("obatch ")
        assert len(result.out.splitlines()) == 1
        assert result.err == ""


def test_the_installed_script_is_the_same_program() -> None:
    """`obatch` and `python -m openai_batch` print the same help."""
    script = shutil.which("obatch", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert script is not None
    shown = subprocess.run([script, "-h"], capture_output=True, text=True, check=True).stdout
    assert shown == invoke("-h").succeeded().out


def test_every_exit_code_is_in_the_help() -> None:
    """The help lists the exit codes of all error classes."""
    codes = {getattr(errors, name).exit_code for name in errors.__all__}
    listed = {int(word) for word in EPILOG.replace(",", " ").split() if word.isdigit()}
    assert listed == codes | {0, 143}


@pytest.mark.slow
def test_help_and_listing_write_nothing(home: Path) -> None:
    """Commands that only read create no files, and work without a home folder."""
    env = {"HOME": "/nonexistent", "OBATCH_STATE_DIR": None, "OBATCH_CACHE_DIR": None, "OBATCH_CONFIG": None}
    write("in.jsonl", [request("a")])
    check = ["check", "in.jsonl", "-p", "openai"]
    for words in (["-h"], ["ls"], ["ls", "--json"], ["providers"], ["config", "show"], ["config", "path"], check):
        invoke(*words, env=env).succeeded()
        invoke(*words).succeeded()
    assert invoke("status", env=env).failed(6, "no jobs yet").code == 6
    assert not Path("/nonexistent").exists()
    assert [path.name for path in home.iterdir()] == ["config.toml"]


@pytest.mark.slow
def test_a_state_folder_that_cannot_be_made_is_reported(home: Path) -> None:
    """If the state folder cannot be created, `run` fails, but `ls`, `prepare` and `check` work."""
    (home / "file").write_text("", encoding="utf-8")
    Path("prompts.txt").write_text("hi\n", encoding="utf-8")
    for place in (str(home / "file"), str(home / "file" / "below"), "/proc/nothing"):
        env = {"OBATCH_STATE_DIR": place}
        words = ("-p", "local", "-m", "echo-1")
        invoke("run", "prompts.txt", *words, env=env).failed(1, place, "OBATCH_STATE_DIR")
        assert invoke("ls", env=env).succeeded().out == ""
        requests = invoke("prepare", "prompts.txt", *words[2:], "-p", "openai", env=env).succeeded().out
        invoke("check", "-", "-p", "openai", stdin=requests, env=env).succeeded()


def test_the_debug_switch_adds_the_traceback() -> None:
    """OBATCH_DEBUG prints a traceback before the error and its hint."""
    done = subprocess.run(
        [*COMMAND, "status"], capture_output=True, text=True, env=environment({"OBATCH_DEBUG": "1"}), check=False
    )
    assert done.returncode == 6
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("error: there are no jobs yet\nhint: `obatch run FILE` starts one\n")


BROKEN = """
from openai_batch.jobs.store.registry import Registry
Registry.jobs = Registry.listed = lambda *_: {}["jobs"]
"""
"""A program that adds a bug before the command runs."""


def test_a_bug_is_reported_in_two_lines() -> None:
    """An unexpected exception is reported in two lines, with a traceback only if OBATCH_DEBUG is set."""
    program = f"{BROKEN}\nimport sys; from openai_batch.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "ls"]
    for env in ({}, {"OBATCH_DEBUG": "1"}):
        done = subprocess.run(command, capture_output=True, text=True, env=environment(env), check=False)
        assert (done.returncode, done.stdout) == (1, "")
        *before, error, hint = done.stderr.splitlines()
        assert error.startswith(f"error: this is a bug in obatch {openai_batch.__version__}: KeyError: 'jobs' (ls.py:")
        assert "hint: please report it" in hint
        assert "https://github.com/parasail-ai/openai-batch/issues" in hint
        assert bool(before) == bool(env)
        assert ("Traceback" in done.stderr) == bool(env)
    seen = Terminal("ls", first=BROKEN, columns=60).finish()
    assert seen.code == 1
    lines = plain(seen.out).splitlines()
    assert lines[0].startswith("error: this is a bug")
    assert max(map(len, lines)) <= 60
