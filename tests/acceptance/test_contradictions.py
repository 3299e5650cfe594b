"""Options that would have no effect, or that contradict each other, are errors: none is ignored without a word."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, invoke, request, write

if TYPE_CHECKING:
    from support.faults import FaultServer


@pytest.fixture(autouse=True)
def files() -> None:
    """A ready batch file, and a table."""
    write("in.jsonl", [request("a"), request("b")])
    Path("t.csv").write_text("id,text,image\n1,one,\n2,two,\n", encoding="utf-8")
    Path("schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}', encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("run --example --limit 2", "--example has prompts of its own", "leave out"),
        ("run --example t.csv", "--example has prompts of its own", "leave out"),
        ("run --example --sql 'SELECT 1 AS text'", "--example has prompts of its own", "leave out"),
        ("run --example --prompt 'x {{ text }}'", "--example has prompts of its own", "leave out"),
        ("run in.jsonl --prefix row", "the file is a batch file", "leave out"),
        ("run t.csv -m e --inline-images", "--inline-images is for the columns of --image", "--image COLUMN"),
        ("run t.csv -m e --id id --prefix row", "--prefix and --id cannot be used together", "choose one"),
        ("run t.csv -m e --param model=f", "a parameter cannot set the model", "--model"),
        ("prepare t.csv -m e --param stream=true", "a batch request cannot stream its answer", "leave stream out"),
        ("run t.csv -m e --schema schema.json --param response_format=x", "--schema sets the format", "leave out"),
        (
            "run t.csv -m e --endpoint responses --schema schema.json --param text='{\"format\": 1}'",
            "--schema sets the format",
            "leave out",
        ),
        ("run t.csv -m e --prefix " + "x" * 51, "--prefix is too long", "50"),
        ("run t.csv -m e --prefix 'a\nb'", "--prefix is too long or has control characters", "50"),
        ("run t.csv -m ''", "--model is empty", "leave it out"),
        ("submit in.jsonl -p faulty --window ' '", "--window is empty", "leave it out"),
        ("submit in.jsonl -p ''", "--provider is empty", "leave it out"),
        ("run t.csv -m e --id ''", "--id is empty", "leave it out"),
        ("run t.csv -m e --image ''", "--image is empty", "leave it out"),
        ("providers add x --base-url ''", "base_url must be", ""),
        ("providers show ''", "NAME is empty", "leave it out"),
        ("run t.csv -m e --missing -", "standard output cannot be used here", "./-"),
        ("run t.csv -m e --missing ''", "--missing is empty", "leave it out"),
        ("run t.csv -m e -o ''", "--output is empty", "leave it out"),
        ("submit ''", "FILE is empty", "leave it out"),
        ("download 1 --raw ''", "--raw is empty", "leave it out"),
        ("run t.csv -m e --name 12", "12 would be taken for the number of a job", "--name"),
        ("run t.csv -m e --name ' '", "--name is empty", "leave it out"),
        ("run t.csv -m e --max-cost 5 --deadline 9999999d", "'9999999d' is not a time", "06:00"),
        ("prepare --sql 'SELECT 1 AS text' --format csv -m e", "--format is for files", "leave it out"),
        ("cost -p faulty", "which FILE?", "standard input"),
        ("cost --limit 3 --json", "which FILE?", "standard input"),
        ("cost --no-dedup", "which FILE?", "standard input"),
        ("download 1 --raw f -o out.csv", "--output cannot be used with --raw", "leave out"),
        ("download 1 --raw f --as csv", "--as cannot be used with --raw", "leave out"),
        ("download 1 --raw f --fields", "--fields cannot be used with --raw", "leave out"),
        ("download 1 --raw f --missing m.jsonl", "--missing cannot be used with --raw", "leave out"),
        ("download 1 --raw f --dry-run", "--dry-run cannot be used with --raw", "leave out"),
        ("wait 1 --max-cost 5", "--max-cost is for --deadline here", "started"),
        ("prune 1 --remote --older-than 7d", "--older-than cannot be used with a JOB", "leave out"),
        ("report 1 --html -", "standard output cannot be used here", "./-"),
        ("ls --all --last 2", "--all and --last cannot be used together", "leave out"),
        (f"ls --last {10**30} -q", "--last must be a whole number from 1", ""),
        ("prune --older-than ''", "--older-than is empty", "leave it out"),
        ("ls --status ''", "--status  is not known", "completed"),
        ("ls --remote --status ''", "--remote goes with -p, --last and --all only", "leave out"),
        ("providers --json show openai", "options of `providers show` belong after it", "obatch providers show -h"),
        ("providers add x --base-url http://h/v1 --max-requests 0", "max_requests must be", ""),
        ("providers add x --base-url http://h/v1 --api-key-env ''", "--api-key-env is empty", "leave it out"),
        ("doctor openai --api-key-env X", "--api-key-env is for a base URL", "settings"),
        ("doctor openai -m x", "--model is for --create", "--create"),
        ("import - -i -", "standard input can be read only once", "only once"),
        ("worker /s b", "a worker needs either --upstream or --engine", "name one"),
        ("worker /s b --upstream http://h/v1 --engine x", "a worker needs either --upstream or --engine", "name one"),
        ("worker /s b --upstream http://h/v1 --request-timeout 99999999999", "must be a number", "obatch worker -h"),
        ("serve --upstream http://h/v1 --upstream-key-env 'a b'", "must be the name of", "obatch serve -h"),
        ("providers add x --base-url http://h/v1 --max-bytes -5", "must be a whole number", "obatch providers add -h"),
        ("serve --port 70000", "--port must be a whole number from 0 to 65535", ""),
        ("serve --stop --upstream http://h/v1", "--stop cannot be used with other options", "obatch serve --stop"),
        ("serve --model-file m --upstream http://h/v1", "--model-file and --upstream cannot be used", "leave out"),
        ("serve --upstream-key-env X", "--upstream-key-env is for --upstream", "name the upstream"),
        ("serve --host a..b --token-env TEST_KEY --upstream http://h/v1", "cannot listen on a..b:0", ""),
    ],
)
def test_an_option_without_effect_is_an_error(faulty: FaultServer, words: str, message: str, hint: str) -> None:
    """Nothing is sent or written, and the two lines say which option it is and what to do."""
    typed = shlex.split(words)
    before = sorted(Path().iterdir())
    result = inside(*typed, *(("-p", "faulty") if typed[0] == "run" else ()))
    assert result.code in (2, 1), result
    assert message in result.err.partition("error:")[2].partition("hint:")[0], result
    assert hint in result.err.partition("hint:")[2], result
    assert not faulty.batches
    assert sorted(Path().iterdir()) == before
    assert not Path(os.environ["OBATCH_CONFIG"]).read_text(encoding="utf-8").count("[providers.x]")


def test_a_schema_keeps_the_other_settings_of_the_text() -> None:
    """Of a responses request, --schema sets the format in `text`, and nothing else there."""
    words = ["prepare", "t.csv", "-m", "e", "--endpoint", "responses", "--schema", "schema.json", "--show", "1"]
    body = json.loads(inside(*words, "--param", 'text={"verbosity": "low"}').succeeded().out)["body"]
    assert body["text"]["verbosity"] == "low"
    assert body["text"]["format"]["type"] == "json_schema"


def test_a_date_is_a_name(faulty: FaultServer) -> None:
    """A number with more digits than a job's number has is a name that commands find."""
    inside("submit", "in.jsonl", "-p", "faulty", "--name", "20261126").succeeded()
    assert inside("status", "20261126", "-q").succeeded().out.strip()
    assert len(faulty.batches) == 1


def test_a_command_in_a_hint_works_for_odd_names(faulty: FaultServer) -> None:
    """A name with a space is quoted, so that the command in the hint is understood as it is printed."""
    Path("my prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    write("my file.jsonl", [request("a")])
    result = inside("check", "my prompts.txt").failed(3, "1 problem", "`obatch prepare 'my prompts.txt'`")
    assert "`obatch run 'my prompts.txt'`" in result.out
    inside("prepare", "my file.jsonl", "-m", "e").failed(2, "is a batch file", "`obatch submit 'my file.jsonl'`")
    Path("my file.jsonl").write_text('{"custom_id": "a"}\n', encoding="utf-8")
    inside("submit", "my file.jsonl", "-p", "faulty").failed(3, "problem", "`obatch check 'my file.jsonl'`")
    assert "`obatch prepare -`" in invoke("check", "-", stdin="one\ntwo\n").err
    Path("t.csv").write_text("Product name,Price (EUR)\nlamp,12\n", encoding="utf-8")
    told = inside("prepare", "t.csv", "-m", "e").failed(3, "no column is called", "--prompt").err
    option = shlex.split(told.partition("hint: ")[2].partition(";")[0])
    assert "12" in inside("prepare", "t.csv", "-m", "e", *option).succeeded().out
    assert not faulty.batches


def test_the_next_step_of_prepare_works(faulty: FaultServer) -> None:
    """The command that `prepare` hints at names the file and the provider, and starts the job."""
    told = inside("prepare", "t.csv", "-m", "e", "-p", "faulty", "-o", "my batch.jsonl").succeeded().err
    command = shlex.split(told.partition("hint: obatch ")[2].splitlines()[0])
    assert inside(*command, "--json").succeeded().json["provider"] == "faulty"
    assert len(faulty.batches) == 1


def test_what_no_word_of_where_matches_is_an_error(faulty: FaultServer) -> None:
    """Also if all requests were answered: the hint has the words for those that were refused or cut."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=cut") for n in range(4)])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    inside("retry", "1", "--where", "kut").failed(5, "--where kut matches no failed request", "--where can be cut")
    assert "1 request was sent again" in inside("retry", "1", "--where", "cut").succeeded().err
    assert len(faulty.batches) == 2
