"""An output never replaces an input, its name decides its format, and no model is chosen silently."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import COMMAND, environment, inside, request, write

from openai_batch import Jobs
from openai_batch.errors import UsageError

if TYPE_CHECKING:
    from support.faults import FaultServer

TABLE = "text,n\nhello,1\nworld,2\n"


def same_file(way: str) -> str:
    """Write a table and return another path of it: the same name, a link, or a path with `..`."""
    Path("in.csv").write_text(TABLE, encoding="utf-8")
    if way == "hard link":
        os.link("in.csv", "other.csv")
    elif way == "symlink":
        Path("other.csv").symlink_to("in.csv")
    return {"name": "in.csv", "detour": f"../{Path.cwd().name}/in.csv"}.get(way, "other.csv")


@pytest.mark.parametrize("way", ["name", "detour", "hard link", "symlink"])
def test_an_input_is_never_replaced(faulty: FaultServer, way: str) -> None:
    """`run`, `download` and `results` never replace their input, even with --force or through a link."""
    other = same_file(way)
    run = ["run", "in.csv", "-p", "faulty", "-m", "echo-1"]
    inside(*run, "-o", other, "--force").failed(2, "is an input file, which is never replaced", "another name")
    inside(*run, "-o", "x.jsonl", "--missing", other, "--force").failed(2, ".csv files cannot be written", ".jsonl")
    assert not faulty.requests
    inside(*run, "-o", "out.csv").succeeded()
    for command in ("download", "results"):
        inside(command, "-o", other, "--force").failed(2, "is an input file, which is never replaced", "another name")
    assert Path("in.csv").read_text(encoding="utf-8") == TABLE


def test_every_kind_of_input_is_kept(faulty: FaultServer) -> None:
    """Standard input, templates and batch files are inputs too, and are not replaced."""
    Path("p.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    Path("t.jsonl").write_text("Say {{ text }}", encoding="utf-8")
    ready = write("in.jsonl", [request("a")])
    common = ["-p", "faulty", "-m", "m", "--force"]
    told = inside("run", "p.jsonl", "--prompt", "@t.jsonl", "-o", "t.jsonl", *common)
    told.failed(2, "t.jsonl is an input", "another name")
    inside("prepare", "p.jsonl", "-o", "p.jsonl", *common).failed(2, "p.jsonl is an input")
    inside("run", "in.jsonl", "-p", "faulty", "-o", "in.jsonl", "--force").failed(2, "in.jsonl is an input")
    for name in ("x.jsonl", "X.jsonl"):
        told = inside("run", "p.jsonl", "--missing", name, "-o", "x.jsonl", *common)
        told.failed(2, f"{name} is also the output", "another name")
    with ready.open("rb") as stream:
        words = [*COMMAND, "run", "-", "-p", "faulty", "-o", "in.jsonl", "--force"]
        done = subprocess.run(words, stdin=stream, capture_output=True, check=False, env=environment())
    assert b"in.jsonl is an input" in done.stderr
    with Jobs() as jobs, pytest.raises(UsageError, match="is an input"):
        jobs.submit("in.jsonl", provider="faulty", output="in.jsonl")
    assert not faulty.requests


@pytest.mark.parametrize("name", ["out.xlsx", "out.json", "out.tsv", "out.TSV", "out.jsonl.gz", "ftp://host/out.csv"])
def test_a_name_of_another_form_is_refused(faulty: FaultServer, name: str) -> None:
    """A file name of an unsupported format and a URL are refused; --as FORM allows any file name."""
    write("in.jsonl", [request("a")])
    Path("p.txt").write_text("hi\n", encoding="utf-8")
    url = "://" in name
    told = "only local files" if url else "files cannot be written"
    inside("run", "in.jsonl", "-p", "faulty", "-o", name).failed(2, told)
    inside("run", "in.jsonl", "-p", "faulty", "--missing", name).failed(2, told)
    inside("prepare", "p.txt", "-p", "faulty", "-m", "m", "-o", name).failed(2, told)
    with Jobs() as jobs, pytest.raises(UsageError, match=told):
        jobs.submit("in.jsonl", provider="faulty", output=name)
    assert not faulty.requests
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    for command in ("download", "results"):
        inside(command, "-o", name).failed(2, told)
    with Jobs() as jobs, pytest.raises(UsageError, match=told):
        jobs.get(1).download(name)
    assert not Path(name).exists()
    if not url:
        inside("download", "-o", name, "--as", "raw").succeeded()


def test_python_uses_the_file_extension(faulty: FaultServer) -> None:
    """`Job.download` writes CSV to a name that ends in .csv."""
    write("in.jsonl", [request("a")])
    with Jobs() as jobs:
        path = jobs.submit("in.jsonl", provider="faulty").wait().download("out.csv")
    assert path.read_text(encoding="utf-8").startswith("custom_id,answer")
    assert faulty.batches


@pytest.mark.parametrize("words", ["run p.txt", "run p.txt -e", "run p.txt --endpoint moderations", "prepare p.txt"])
def test_no_model_is_chosen_silently(faulty: FaultServer, words: str) -> None:
    """If the profile has no default model, the command asks for -m, and nothing is sent."""
    Path("p.txt").write_text("hi\n", encoding="utf-8")
    inside(*words.split(), "-p", "faulty").failed(2, "which model?", "-m")
    assert "which model?" in inside("run", "--example", "-p", "dashscope").failed(2, "which model?", "-m").err
    done = inside("prepare", "p.txt", "-p", "parasail").succeeded()
    assert json.loads(done.out)["body"]["model"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert not faulty.requests


def test_what_is_sent_is_shown_first(faulty: FaultServer) -> None:
    """The first line names the rows, the column and the model; -q hides it."""
    Path("t.csv").write_text(TABLE, encoding="utf-8")
    Path("p.txt").write_text("hi\n", encoding="utf-8")
    run = ["-p", "faulty", "-m", "echo-1", "--again", "--force"]
    assert inside("run", "t.csv", *run).succeeded().err.startswith("2 prompts from column text, model echo-1\n")
    assert inside("run", "p.txt", *run).succeeded().err.startswith("1 prompt, model echo-1\n")
    write("in.jsonl", [request("a", "echo-1")])
    assert inside("submit", "in.jsonl", "-p", "faulty").succeeded().err.startswith("1 request, model echo-1\n")
    assert inside("run", "t.csv", *run, "-q").succeeded().err == ""
    assert len(faulty.batches) == 4
