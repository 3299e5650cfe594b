"""The programs `python -m openai_batch.…`: streams, errors, signals and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compat.conftest import python

from openai_batch import create_batch_input, example_prompts, run

if TYPE_CHECKING:
    from compat.stub import Stub

LINE = json.dumps(
    {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]},
    }
)


@pytest.mark.parametrize(
    ("prompt_args", "create_args", "key", "model"),
    [
        ([], [], "messages", "gpt-4"),
        (["-e"], ["-e"], "input", "text-embedding-3-small"),
        (["-e"], ["--score", "What is good?"], "text_1", "gpt-4"),
        (["-e"], ["--rerank", "What is good?"], "documents", "gpt-4"),
        ([], ["-p", "parasail"], "messages", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ([], ["-p", "openai", "--model", "gpt-4o"], "messages", "gpt-4o"),
    ],
)
def test_prompts_become_requests(prompt_args: list[str], create_args: list[str], key: str, model: str) -> None:
    """Each prompt becomes one request of the chosen kind, with the default model of that kind."""
    example_prompts.main(["p.txt", "-n", "7", *prompt_args])
    create_batch_input.main(["p.txt", "in.jsonl", *create_args])
    prompts = Path("p.txt").read_bytes().decode().split("\n")[:-1]
    lines = [json.loads(line) for line in Path("in.jsonl").read_bytes().splitlines()]
    assert len(prompts) == len(lines) == 7
    for prompt, line in zip(prompts, lines, strict=True):
        assert key in line["body"]
        assert line["body"]["model"] == model
        assert prompt in json.dumps(line, ensure_ascii=False)


def test_example_prompts_write_unix_lines_to_a_closing_reader() -> None:
    """If the reader closes the pipe, the program ends without output on standard error."""
    script = f"set -o pipefail; {sys.executable} -m openai_batch.example_prompts -n 200000 | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.slow
def test_standard_input_is_a_batch_input(stub: Stub) -> None:
    """`-` reads the batch input from standard input, and checks it."""
    python("-m", "openai_batch.run", "-", "-o", "out.jsonl", input=f"{LINE}\n")
    assert stub.uploaded() == f"{LINE}\n".encode()
    assert json.loads(Path("out.jsonl").read_bytes())["custom_id"] == "a"
    done = python("-m", "openai_batch.run", "-", input=f"{LINE}\n{LINE}\n", check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error: <stdin>:2: custom_id")


@pytest.mark.slow
@pytest.mark.usefixtures("stub")
def test_the_messages_of_a_run() -> None:
    """The messages are those of 0.3.4, and show where the results are."""
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    done = python("-m", "openai_batch.run", "in.jsonl", "-o", "deep/out.jsonl")
    lines = done.stdout.splitlines()
    assert lines[0] == "Created batch_1."
    assert lines[2] == "You may Ctrl+C and resume later with: --resume batch_1"
    assert lines[-3:] == [
        "Status of batch_1: completed",
        "Downloading results for batch_1...",
        "Results saved to deep/out.jsonl.",
    ]
    done = python("-m", "openai_batch.run", "in.jsonl", "--create")
    assert done.stdout.splitlines() == [
        "Created batch_2.",
        "This script now exits. Resume later with: --resume batch_2",
    ]


def test_a_dry_run_counts_and_sends_nothing(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run shows the number of requests, and needs no input for a resumed batch."""
    second = LINE.replace('"a"', '"b"')
    Path("in.jsonl").write_text(f"{LINE}\n\n{second}", encoding="utf-8")
    assert run.main(["in.jsonl", "-n", "-c", "-p", "openai", "--api-key", "k"]) == "batch-dry-run"
    assert run.main(["in.jsonl", "-n"]) == "batch-dry-run"
    assert run.main(["-p", "parasail", "--resume", "batch-mock", "--api-key", "k", "--dry-run"]) == "batch-mock"
    assert capsys.readouterr().out.splitlines() == [
        "Would start batch with 2 requests then exit.",
        "Would start batch with 2 requests then wait for it to finish.",
        "Status of batch-dry-run: completed",
        "Would wait until batch-mock is complete.",
        "Status of batch-mock: completed",
    ]
    assert stub.calls == []


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["run"], 2, "no input file"),
        (["run", "missing.jsonl"], 3, "missing.jsonl"),
        (["run", "in.jsonl", "-p", "nobody"], 6, "No provider found with name: nobody"),
        (["run", "in.jsonl", "-p", "openai"], 4, "TEST_KEY is not set"),
        (["run", "in.jsonl", "--resume", "b"], 2, "exclude each other"),
        (["run", "--resume", "b"], 6, "Could not auto-detect provider for batch ID b"),
        (["create_batch", "missing.txt"], 1, "missing.txt: No such file or directory"),
        (["create_batch", "latin.txt"], 3, "latin.txt:2: not UTF-8 at byte 4"),
        (["example_prompts", "/dev/full"], 1, "No space left on device"),
    ],
)
def test_an_error_is_two_lines_and_a_code(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, error: str
) -> None:
    """An expected error is shown without a traceback, with its exit code."""
    monkeypatch.delenv("TEST_KEY")
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    Path("latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    done = python("-m", f"openai_batch.{words[0]}", *words[1:], check=False)
    assert done.returncode == code, done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert all(line.startswith("hint: ") for line in rest)
    assert stub.calls == []


@pytest.mark.slow
def test_a_failed_request_gives_exit_code_5(stub: Stub) -> None:
    """A failed request gives exit code 5, and the error file is shown."""
    stub.failing = {"b"}
    second = LINE.replace('"a"', '"b"')
    Path("in.jsonl").write_text(f"{LINE}\n{second}\n", encoding="utf-8")
    done = python("-m", "openai_batch.run", "in.jsonl", check=False)
    assert done.returncode == 5
    assert "Errors saved to batch_1-errors.jsonl." in done.stdout
    assert done.stderr.splitlines()[0] == "error: 1 of 2 requests of batch batch_1 did not succeed"


@pytest.mark.slow
def test_an_error_after_the_creation_says_how_to_resume(stub: Stub) -> None:
    """After the batch is created, the hint of an error shows how to resume it."""
    stub.faults = [("GET /v1/batches/", 401, {})]
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    done = python("-m", "openai_batch.run", "in.jsonl", "-p", "openai", check=False)
    assert done.returncode == 4
    hint = "hint: batch batch_1 keeps running; resume with: python -m openai_batch.run --resume batch_1 -p openai"
    assert done.stderr.splitlines()[-1] == hint


@pytest.mark.slow
def test_an_uncertain_creation_has_its_own_code(stub: Stub) -> None:
    """If it is unknown whether a batch exists, nothing is sent twice, and the hint says where to look."""
    config = Path(os.environ["OBATCH_CONFIG"])
    text = config.read_text(encoding="utf-8")
    quick = "[providers.openai]\ncreate_timeout = 0.5\ncreate_grace = 0\n"
    config.write_text(text.replace("[providers.openai]\n", quick), encoding="utf-8")
    stub.lose_create = True
    stub.faults = [(r"GET /v1/batches\?", 400, {})] * 20
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    done = python("-m", "openai_batch.run", "in.jsonl", check=False)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].startswith("hint: look at the provider's list of batches")
    assert len(stub.seen("POST", "/v1/batches$")) == 1


def test_ctrl_c_shows_how_to_resume(stub: Stub) -> None:
    """After Ctrl-C the hint shows the command that resumes the batch, without the key, and nothing is cancelled."""
    stub.statuses = ["in_progress"]
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-u",
        "-m",
        "openai_batch.run",
        "in.jsonl",
        "-p",
        "openai",
        "--api-key",
        "sk-x",
        "-o",
        "o",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "Status of" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines() == [
        "error: interrupted; batch batch_1 keeps running",
        "hint: resume with: python -m openai_batch.run --resume batch_1 -p openai -o o",
    ]
    assert stub.seen("POST", "cancel") == []


def test_results_can_go_to_a_device(stub: Stub) -> None:
    """`-o /dev/null` discards the results, and the device stays."""
    Path("in.jsonl").write_text(f"{LINE}\n", encoding="utf-8")
    assert run.main(["in.jsonl", "-o", os.devnull]) == "batch_1"
    assert not Path(os.devnull).is_file()
    assert len(stub.seen("GET", "/content")) == 1
