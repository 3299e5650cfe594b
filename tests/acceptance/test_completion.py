"""Shell completion: the scripts are current and valid, and complete every kind of word."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import PATIENCE, environment, invoke, request, write

from openai_batch.cli.completion_scripts import read_commands
from openai_batch.files import paths
from openai_batch.inputs.request_spec import RequestSpec
from openai_batch.providers.builtin_names import BUILT_IN_NAMES
from openai_batch.results.export import form_of

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = pytest.mark.slow


SCRIPTS = Path(__file__).parents[2] / "completions"
SHELLS = {"obatch.bash": ["bash", "-n"], "_obatch": ["zsh", "-n"], "obatch.fish": ["fish", "--no-execute"]}


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """Return a PATH that has this environment's `obatch` first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "obatch"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m openai_batch "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return f"{folder}:/usr/local/bin:/usr/bin:/bin"


def tab(path: str, *words: str) -> list[str]:
    """Press TAB in bash after these words, the last of which is unfinished."""
    listed = " ".join(f"'{word}'" for word in ("obatch", *words))
    script = f'''source "{SCRIPTS}/obatch.bash"
COMP_WORDS=({listed}); COMP_CWORD={len(words)}
_obatch
printf '%s\\n' "${{COMPREPLY[@]}}"'''
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment({"PATH": path}), check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_scripts_are_current(tmp_path: Path) -> None:
    """The scripts in the repository are what the generator writes."""
    target = tmp_path / "made"
    target.mkdir()
    subprocess.run([sys.executable, "-m", "openai_batch.cli.completion_scripts", str(target)], check=True)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        path.name: path.read_text() for path in SCRIPTS.iterdir()
    }


@pytest.mark.parametrize("name", sorted(SHELLS))
def test_the_scripts_are_valid(name: str) -> None:
    """Each script parses in its shell, if that shell is installed."""
    command = SHELLS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run([*command, str(SCRIPTS / name)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_commands_and_options_complete(shell_path: str) -> None:
    """Bash completes commands, subcommands, options and files."""
    commands = read_commands()
    assert set(tab(shell_path, "")) >= set(commands[0].commands)
    assert tab(shell_path, "sta") == ["stats", "status"]
    assert tab(shell_path, "config", "") == ["edit", "path", "set", "show", "unset"]
    assert tab(shell_path, "status", "--exi") == ["--exit-code"]
    for command in commands:
        expected = {name for option in command.options for name in option.names}
        assert set(tab(shell_path, *command.path, "-")) == expected, command.name
    # The value of an option is not a command, even if it is spelled like one.
    assert tab(shell_path, "run", "--name", "check", "--exa") == ["--example"]
    assert tab(shell_path, "download", "--as", "") == ["csv", "jsonl", "parquet", "raw", "rows"]
    assert tab(shell_path, "ls", "--status", "in") == ["in_progress"]
    assert tab(shell_path, "retry", "--where", "") == ["cut", "refused", "error", "missing"]
    assert tab(shell_path, "prepare", "--format", "x") == ["xlsx"]
    assert tab(shell_path, "run", "--name", "") == []


def test_every_value_that_is_offered_is_valid() -> None:
    """Each value that completion offers for an option is valid for that option."""
    options = {name: option for command in read_commands() for option in command.options for name in option.names}
    for endpoint in options["--endpoint"].values:
        score, rerank = ("x" if endpoint == kind else None for kind in ("score", "rerank"))
        assert RequestSpec("m", endpoint=endpoint, score=score, rerank=rerank).target
    for form in options["--as"].values:
        assert form_of(None, form)


def test_jobs_and_providers_complete(faulty: FaultServer, shell_path: str) -> None:
    """Bash completes job numbers, names and batch ids from the registry, and providers from the configuration."""
    for name in ("nightly", "weekly"):
        write("in.jsonl", [request(name)])
        invoke("submit", "in.jsonl", "-p", "faulty", "--name", name).succeeded()
    asked = len(faulty.requests)
    batches = list(faulty.batches)
    assert tab(shell_path, "wait", "") == ["2", "1"]
    assert tab(shell_path, "status", "nig") == ["nightly"]
    assert sorted(tab(shell_path, "download", "batch_")) == sorted(batches)
    assert tab(shell_path, "cancel", "1", "wee") == ["weekly"]
    assert tab(shell_path, "run", "x.txt", "-p", "fau") == ["faulty"]
    assert "parasail" in tab(shell_path, "ls", "--provider", "")
    for words in (["providers", "show"], ["providers", "test"], ["providers", "rm"], ["doctor"]):
        assert tab(shell_path, *words, "fau") == ["faulty"]
    assert tab(shell_path, "providers", "add", "fau") == []
    assert len(faulty.requests) == asked


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes(faulty: FaultServer, shell_path: str) -> None:
    """Fish completes commands, options, job names and providers."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty", "--name", "nightly").succeeded()

    def words(line: str) -> list[str]:
        script = f"source {SCRIPTS}/obatch.fish; complete -C '{line}'"
        env = environment({"PATH": shell_path})
        done = subprocess.run(["fish", "-N", "-c", script], capture_output=True, text=True, env=env, check=True)
        assert done.stderr == ""
        return [row.split("\t")[0] for row in done.stdout.splitlines()]

    assert words("obatch sta") == ["stats", "status"]
    assert words("obatch wait nig") == ["nightly"]
    assert words("obatch wait ")[0] == "1"
    assert words("obatch config ") == ["edit", "path", "set", "show", "unset"]
    for line in ("ls -p", "providers show", "providers test", "providers rm", "doctor"):
        assert words(f"obatch {line} fau") == ["faulty"]
    assert "--exit-code" in words("obatch status --")
    assert "--exit-code" not in words("obatch wait --")
    assert faulty.batches


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("statu", "status "),
        ("wait nig", "wait nightly "),
        ("ls -p fau", "ls -p faulty "),
        ("providers show fau", "providers show faulty "),
        ("doctor fau", "doctor faulty "),
        ("status --exi", "status --exit-code "),
        ("config sh", "config show "),
        ("run --name check --exa", "run --name check --example "),
    ],
)
def test_zsh_completes(faulty: FaultServer, shell_path: str, typed: str, completed: str) -> None:
    """Zsh completes commands, options, job names and providers at a real TAB."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty", "--name", "nightly").succeeded()
    env = environment({"PATH": shell_path, "TERM": "dumb"})
    pexpect = pytest.importorskip("pexpect")
    shell = pexpect.spawn("zsh", ["-f", "-i"], env=env, encoding="utf-8", dimensions=(24, 200), timeout=PATIENCE)
    shell.sendline(f"fpath=({SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D; PS1=; echo rea''dy")
    shell.expect("ready\r\n")
    shell.send(f"obatch {typed}\t")
    shell.expect_exact(f"obatch {completed}")
    shell.close(force=True)
    assert faulty.batches


NAMES = (
    "aa$(touch canary)z",
    "ab`touch canary`",
    "ac;touch canary",
    "ad'$(touch canary)'\"",
    "ae\\$(touch canary)",
    "af|touch canary&",
    "ag ${x:=$(touch canary)} %(x)",
    "ah*?[a]{b,c}:$((canary))#",
)
"""Names with commands that a shell would run if it expanded them; each has its own first letters."""

INTERACTIVE = {
    "bash": (
        ["--norc", "--noprofile", "-i"],
        (
            "bind 'set enable-bracketed-paste off'; source '{}/obatch.bash';"
            " show() {{ printf '<%s>' \"$@\"; echo; }}; complete -o nosort -F _obatch show"
        ),
    ),
    "zsh": (
        ["-f", "-i"],
        (
            "fpath=('{}' $fpath); autoload -Uz compinit; compinit -u -D; compdef _obatch show; PS1=;"
            " show() {{ printf '<%s>' \"$@\"; echo; }}"
        ),
    ),
    "fish": (
        ["-N", "-i"],
        (
            "source '{}/obatch.fish'; complete -c show -w obatch; function show; printf '<%s>' $argv; echo; end;"
            " function fish_prompt; end"
        ),
    ),
}
"""By shell: how it starts, and a line that makes `show` complete like `obatch` and print its arguments."""


def hostile_words(faulty: FaultServer) -> None:
    """Put hostile names into the registry, the configuration and the working folder."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty", "--name", "fine").succeeded()
    Path("in.jsonl").rename("f-plain.jsonl")
    for name in NAMES:
        Path(f"f{name}").touch()
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as config:
        for name in NAMES:
            config.write(f'[providers.{json.dumps(f"p{name}")}]\nbase_url = "{faulty.base_url}"\n')
    db = sqlite3.connect(Path(os.environ["OBATCH_STATE_DIR"]) / "registry.db")
    for number, name in enumerate(NAMES, 2):
        db.execute("CREATE TEMP TABLE copy AS SELECT * FROM jobs WHERE id = 1")
        db.execute("UPDATE copy SET id = ?1, uid = ?1, name = ?2", (number, f"n{name}"))
        db.execute("INSERT INTO jobs SELECT * FROM copy")
        db.execute("DROP TABLE copy")
    db.execute("UPDATE parts SET batch_id = ?", (f"b{NAMES[0]}",))
    db.commit()
    db.close()


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_completion_runs_nothing(faulty: FaultServer, shell_path: str, shell: str) -> None:
    """Names that contain shell commands are completed with quotes, and the commands are not run."""
    hostile_words(faulty)
    options, setup = INTERACTIVE[shell]
    env = environment({"PATH": shell_path, "TERM": "dumb", "PS1": "", "INPUTRC": os.devnull})
    pexpect = pytest.importorskip("pexpect")
    terminal = pexpect.spawn(shell, options, env=env, encoding="utf-8", dimensions=(24, 400), timeout=15)
    terminal.sendline(setup.format(SCRIPTS))
    terminal.sendline("show rea''dy")
    terminal.expect_exact("<ready>")
    typed = {f"wait n{name[:2]}": f"<wait><n{name}>" for name in NAMES}
    typed |= {f"ls -p p{name[:2]}": f"<ls><-p><p{name}>" for name in NAMES}
    typed |= {f"providers show p{name[:2]}": f"<providers><show><p{name}>" for name in NAMES}
    typed |= {f"check f{name[:2]}": f"<check><f{name}>" for name in NAMES}
    typed |= {f"status b{NAMES[0][:2]}": f"<status><b{NAMES[0]}>", "wait fin": "<wait><fine>"}
    typed |= {"run x -o f-pl": "<run><x><-o><f-plain.jsonl>", "download --as parq": "<download><--as><parquet>"}
    for words, shown in typed.items():
        terminal.send(f"show {words}\t\r")
        terminal.expect_exact(shown)
    terminal.close(force=True)
    assert not Path("canary").exists()


@pytest.mark.parametrize("content", [b"garbage" * 999, b"", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_completion_is_silent_after_any_error(home: Path, content: bytes) -> None:
    """With a damaged registry or a broken configuration, completion prints nothing and exits with code 0."""
    (home / "state").mkdir()
    (home / "state" / "registry.db").write_bytes(content)
    (home / "config.toml").write_text("providers = 3", encoding="utf-8")
    for words in (["jobs", ""], ["jobs", "\x1b'"], ["nonsense", ""], []):
        result = invoke("__complete", *words).succeeded()
        assert (result.out, result.err) == ("", "")
    assert invoke("__complete", "providers", "").succeeded().err == ""
    assert (home / "state" / "registry.db").read_bytes() == content


@pytest.mark.parametrize("name", ["two\nlines", "\u001b[31mred", "hid\u200bden", "--force"])
def test_a_name_that_cannot_be_typed_is_not_offered(home: Path, name: str) -> None:
    """Names with invisible characters, or that look like an option, are not offered."""
    config = f'[providers.{json.dumps(name)}]\nbase_url = "http://127.0.0.1:9/v1"\n[providers.zz]\n'
    (home / "config.toml").write_text(config, encoding="utf-8")
    offered = invoke("__complete", "providers", "").succeeded().out
    assert [line.partition("\t")[0] for line in offered.splitlines()] == [*BUILT_IN_NAMES, "zz"]


def test_completion_among_twenty_thousand_jobs(faulty: FaultServer) -> None:
    """Completion offers only the newest jobs; `benchmarks` measures the time."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    with closing(sqlite3.connect(paths.registry_file())) as db, db:
        db.execute("CREATE TEMP TABLE job AS SELECT * FROM jobs")
        db.execute("CREATE TEMP TABLE part AS SELECT * FROM parts")
        for number in range(2, 20_001):
            db.execute("UPDATE job SET id = ?1, uid = ?1", (number,))
            db.execute("UPDATE part SET job = ?", (number,))
            db.execute("INSERT INTO jobs SELECT * FROM job")
            db.execute("INSERT INTO parts SELECT * FROM part")
    offered = invoke("__complete", "jobs", "").succeeded().out.splitlines()
    numbers = [int(line.partition("\t")[0]) for line in offered]
    assert numbers == [*range(20_000, 20_000 - len(numbers), -1)]
    assert 10 <= len(numbers) <= 1_000
    assert faulty.batches


def test_completion_creates_no_files(home: Path) -> None:
    """Completion before the first job creates no registry."""
    assert invoke("__complete", "jobs", "").succeeded().out == ""
    assert [path.name for path in home.iterdir()] == ["config.toml"]


def test_fish_and_zsh_know_every_command() -> None:
    """The scripts for fish and zsh contain every option of every command."""
    zsh, fish = ((SCRIPTS / name).read_text(encoding="utf-8") for name in ("_obatch", "obatch.fish"))
    for command in read_commands():
        for option in command.options:
            for name in option.names:
                assert f"'{name}[" in zsh, (command.name, name)
                assert f" -l {name[2:]} " in fish or not name.startswith("--"), (command.name, name)
