"""Common mistakes of new users: each error names the problem, and each hint is a remedy that works."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, plain, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 9)


@pytest.fixture(autouse=True)
def files() -> None:
    """Write the inputs."""
    Path("prompts.txt").write_text("Hello\nWorld\n", encoding="utf-8")
    Path("two.csv").write_text("nr,comment\n1,good\n", encoding="utf-8")
    Path("reviews.csv").write_text("id,text\n1,good\n2,bad\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        ("run prompt.txt -m e", 3, "prompt.txt: No such file", "did you mean prompts.txt?"),
        ("run other.jsonl -m e", 3, "other.jsonl: No such file", "name a file"),
        (r"run 'C:\data\reviews.csv' -m e", 3, r"C:\data\reviews.csv: No such file", "name a file"),
        ("run . -m e", 3, "Is a directory", "'*.csv'"),
        ("run prompts.txt", 2, "which model?", "name it with -m"),
        ("run prompts.txt -m e -o out/", 2, "out/ is a folder", "out/results.jsonl"),
        ("run prompts.txt -m e -o prompts.txt --force", 2, "prompts.txt is an input", "choose another name"),
        ("run reviews.csv -m e --prompt '{{ txet }}'", 3, "the input has 1 problem", "did you mean text?"),
        ("run reviews.csv -m e --prompt '{text}'", 2, "the same for every row", "{{ name }}"),
        ("run prompts.txt -m e --param temperature", 2, "not KEY=VALUE", "--param temperature=VALUE"),
        ("run prompts.txt -m e --param temperature:0.2", 2, "not KEY=VALUE", "--param temperature=0.2"),
        ("run prompts.txt -model e", 2, "no such option: -model", "did you mean --model?"),
        ("run reviews.csv 'Good? {{ text }}' -m e", 3, "no file matches", "a prompt is given with --prompt"),
        ("run 'Is this good?' -m e", 3, "Is this good?: no file matches", "write the prompt to a file"),
        ("run 'Say hello' -m e", 3, "Say hello: No such file", "write the prompt to a file"),
        (
            "run prompts.txt -m e --schema reviews.csv",
            3,
            "reviews.csv: not valid JSON: invalid",
            "--schema names a file",
        ),
        ("run two.csv -m e", 3, "the input has 1 problem", '--prompt "{{ comment }}"'),
        ("run prompts.txt -m e --endpoint chats", 2, "'chats'", "did you mean /v1/chat/completions?"),
        ("run prompts.txt -m e --limit 0", 2, "--limit must be a whole number from 1", "obatch run -h"),
        ("run prompts.txt -m e --retries x", 2, "--retries must be a whole number from 0", "obatch run -h"),
        ("run prompts.txt -m e --parallel 99", 2, "--parallel must be a whole number from 1 to 16", "obatch run -h"),
        ("run prompts.txt -m e --timeout 10min", 2, "'10min' is not a time span", "30m"),
        ("run prompts.txt -m e --max-cost cheap", 2, "'cheap', which is not an amount", "2.50"),
        ("submit prompts.txt", 3, "not a batch file", "obatch run"),
        ("rnu prompts.txt", 2, "Did you mean 'run'?", "`obatch -h` shows the commands"),
        ("ls --status runing", 2, "--status runing is not known", "in_progress"),
        ("ls --status complet", 2, "--status complet is not known", "did you mean completed?"),
        ("config set provder x", 2, "'provder' is not a setting", "did you mean provider?"),
    ],
)
def test_common_mistakes(faulty: FaultServer, words: str, code: int, message: str, hint: str) -> None:
    """The error and the hint are the right ones, and no request is sent."""
    typed = shlex.split(words)
    result = inside(*typed, *(("-p", "faulty") if typed[0] in ("run", "submit") else ()))
    result.failed(code, message, hint)
    assert not faulty.requests


def test_a_job_whose_name_is_misspelt(faulty: FaultServer) -> None:
    """The hint for an unknown job suggests the nearest name; `ls --status running` finds running jobs."""
    write("in.jsonl", [request("a", RUNS_ON)])
    inside("submit", "in.jsonl", "-p", "faulty", "--name", "nightly").succeeded()
    inside("status", "nightl").failed(6, "no job 'nightl'", "did you mean nightly?")
    inside("status", "weekly-2").failed(6, "no job 'weekly-2'", "obatch ls")
    assert inside("ls", "--status", "running", "-q").succeeded().out == "1\n"
    assert inside("ls", "--status", "completed,not_sent", "-q").succeeded().out == ""
    assert faulty.batches


def test_a_retry_that_matches_nothing(faulty: FaultServer) -> None:
    """If --where matches no failed request, the error says so, and the hint lists what matches."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=absent") for n in range(4)])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    inside("retry", "--where", "429").failed(5, "--where 429 matches no failed request", "--where can be missing")
    inside("retry", "--where", "missing", "--dry-run").succeeded()
    assert len(faulty.batches) == 1


def test_the_price_that_a_hint_asks_for_can_be_set(faulty: FaultServer) -> None:
    """The command in the hint sets the price of any model, once its numbers are filled in."""
    words = ["run", "prompts.txt", "-p", "faulty", "-m", 'a/b-1.5 "x"', "--max-cost", "5", "--param", "max_tokens=5"]
    told = inside(*words).failed(3, "is unknown, so this can cost more than $5.00", "obatch config set").err
    command = shlex.split(told.partition("obatch ")[2].splitlines()[0])
    inside(*command).failed(2, "must be a table", "edit the file")
    inside(*(word.replace("USD", "1.25") for word in command)).succeeded()
    assert json.loads(inside(*words, "--dry-run", "--json").succeeded().out)["cost"]["usd_at_most"] is not None
    assert not faulty.batches


@pytest.mark.slow
def test_mistakes_at_a_terminal() -> None:
    """A narrow terminal gets the same text as a pipe, and no word is broken."""
    shown = see("ls", "--status", "runing", columns=60)
    assert shown.code == 2
    assert "\x1b[1;31merror:\x1b[0m --status runing is not known" in shown.out
    for words in ("ls --status runing", "run -p openai", "providers add a b --base-url x", "status 7 --offline"):
        lines = plain(see(*words.split(), columns=40).out).splitlines()
        assert " ".join(" ".join(lines).split()) == " ".join(inside(*words.split()).err.split())
        assert all(len(line) <= 40 or " " not in line or line.startswith("hint: obatch") for line in lines), lines
