"""`import`: results made elsewhere become a job, and requests without an answer are sent once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import COMMAND, ids, inside, request, see, write

from openai_batch import Jobs
from openai_batch.errors import UsageError
from openai_batch.jobs.store.registry import Registry

if TYPE_CHECKING:
    from support.faults import FaultServer

IMPORT = ("import", "out.jsonl", "--input", "in.jsonl")


def body(text: str) -> dict[str, Any]:
    """Return the body of a response."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "tool_calls": []}, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice]}


def line(custom_id: str, text: str) -> dict[str, Any]:
    """Return a success as `vllm run-batch` writes it."""
    response = {"status_code": 200, "request_id": "vllm-batch-1", "body": body(text)}
    return {"id": "vllm-1", "custom_id": custom_id, "response": response, "error": None}


def failure(custom_id: str) -> dict[str, Any]:
    """Return an error as `vllm run-batch` writes it."""
    error = {"error": {"message": "the prompt is too long", "type": "BadRequestError", "param": None, "code": 400}}
    response = {"status_code": 400, "request_id": "vllm-batch-1", "body": None}
    return {"id": "vllm-1", "custom_id": custom_id, "response": response, "error": error}


def answers() -> dict[str, str | None]:
    """Return the answers of the job used last, by id."""
    rows = map(json.loads, inside("results").out.splitlines())
    return {row["custom_id"]: row["answer"] for row in rows}


@pytest.fixture(autouse=True)
def batch_file() -> Path:
    """Write the input of these tests."""
    return write("in.jsonl", [request(f"r{n}", "m", f"ask {n}") for n in range(4)])


def test_results_of_vllm_become_a_job(faulty: FaultServer) -> None:
    """`import` puts results into input order and reports missing ones, and other commands accept the job."""
    write("out.jsonl", [line("r2", "two"), failure("r1"), line("r0", "zero")])
    told = inside(*IMPORT, "--name", "vllm").failed(
        5, "2 of 4 answered: 2 succeeded, 1 failed, 1 missing (r3)", "-p NAME"
    )
    assert told.out == ""
    assert inside(*IMPORT, "-q").out == "1\n"
    assert "the prompt is too long (r1)" in told.err
    assert inside("ls").rows[0][:6] == ["1", "vllm", "imported", "completed", "4", "4"]
    assert inside("status").succeeded().fields["provider"] == "imported"
    assert inside("wait").code == 5
    assert inside("cancel", "vllm").code == 0
    assert "2 succeeded" in inside("report").succeeded().fields["answers"]
    assert inside("download", "-o", "got.jsonl").code == 5
    assert Path("got.jsonl").read_bytes().splitlines() == [
        json.dumps(each).encode() for each in (line("r0", "zero"), failure("r1"), line("r2", "two"))
    ]
    assert answers() == {"r0": "zero", "r1": None, "r2": "two", "r3": None}
    assert "cost" not in inside("status").fields
    assert "imported" in see("ls", columns=80).out
    assert faulty.requests == []


def test_what_has_no_answer_is_sent_once(faulty: FaultServer) -> None:
    """`retry -p` sends the requests without an answer, and `run` of the same input then sends nothing."""
    write("in.jsonl", [request(f"r{n}", "fault:", f"ask {n}") for n in range(4)])
    write("out.jsonl", [line("r2", "two"), failure("r1")])
    assert inside(*IMPORT).code == 5
    inside("retry").failed(2, "no provider has it", "obatch retry 1 -p NAME")
    told = inside("retry", "-p", "faulty", "--dry-run").succeeded()
    assert "3 requests would be sent" in inside("retry", "-p", "faulty", "--dry-run", "--all").err, told
    assert inside("ls").rows[0][2] == "imported"
    inside("retry", "-p", "faulty", "--all", "-q").succeeded()
    inside("wait").succeeded()
    inside("download", "-o", "got.jsonl").succeeded()
    assert ids("got.jsonl") == ["r0", "r1", "r2", "r3"]
    assert answers() == {"r0": "answer to r0", "r1": "answer to r1", "r2": "two", "r3": "answer to r3"}
    inside("run", "in.jsonl", "-p", "faulty", "-o", "again.jsonl").succeeded()
    assert ids("again.jsonl") == ["r0", "r1", "r2", "r3"]
    assert len(faulty.batches) == 1
    (sent,) = [file.data for file in faulty.files.values() if file.purpose == "batch"]
    assert b'"r2"' not in sent


def test_answers_are_reused_by_a_run(faulty: FaultServer) -> None:
    """`run` reuses imported answers, and sends only the other requests."""
    write("in.jsonl", [request(f"r{n}", "fault:", f"ask {n}") for n in range(4)])
    write("out.jsonl", [line("r0", "zero"), line("r3", "three")])
    assert inside(*IMPORT).code == 5
    inside("run", "in.jsonl", "-p", "faulty", "-o", "got.jsonl").succeeded()
    assert answers() == {"r0": "zero", "r1": "answer to r1", "r2": "answer to r2", "r3": "three"}
    assert [batch.view["request_counts"]["total"] for batch in faulty.batches.values()] == [2]


def test_importing_again_adds_only_what_is_new() -> None:
    """The same results change nothing; new ones are added to the same job, and a success replaces an error."""
    write("out.jsonl", [failure("r1"), line("r2", "two")])
    write("more.jsonl", [line("r1", "one"), failure("r2"), line("r1", "other"), line("r0", "zero")])
    assert inside(*IMPORT).code == inside(*IMPORT).code == 5
    first = inside("ls", "--json").json
    assert len(first) == 1
    assert inside("download", "-o", "got.jsonl").code == 5
    told = inside("import", "more.jsonl", "--input", "in.jsonl")
    assert (told.code, told.err.count("1 result repeats a request")) == (5, 1)
    assert answers() == {"r0": "zero", "r1": "one", "r2": "two", "r3": None}
    assert inside("download", "-o", "got.jsonl").code == 5
    assert ids("got.jsonl") == ["r0", "r1", "r2"]
    before = inside("ls", "--json").json
    assert inside("import", "more.jsonl", "out.jsonl", "-i", "in.jsonl").code == 5
    assert inside("ls", "--json").json == before
    write("last.jsonl", [line("r3", "three")])
    assert "4 of 4 succeeded" in inside("import", "last.jsonl", "-i", "in.jsonl").succeeded().err
    assert list(answers().values()) == ["zero", "one", "two", "three"]


def test_a_folder_of_tables() -> None:
    """A folder with Parquet and JSON lines, as Ray Data and Daft write them, is imported."""
    duckdb = pytest.importorskip("duckdb")
    parts = Path("parts")
    (parts / "a").mkdir(parents=True)
    rows = [
        {"custom_id": "r0", "response": {"status_code": 200, "body": body("zero")}, "answer": None, "error": None},
        {"custom_id": "r1", "response": None, "answer": "one", "error": None},
        {"custom_id": "r2", "response": None, "answer": None, "error": "out of memory"},
        {"custom_id": "r3", "response": None, "answer": None, "error": None},
    ]
    Path("rows.json").write_text(json.dumps(rows), encoding="utf-8")
    duckdb.sql("SELECT * FROM 'rows.json'").write_parquet(str(parts / "a" / "0.parquet"))
    request_body = {"model": "m", "messages": [{"role": "user", "content": "ask 3"}]}
    write(str(parts / "1.jsonl"), [{"custom_id": "r3", "url": "/v1/x", "body": request_body, "said": '{"label": "x"}'}])
    (parts / "_SUCCESS").touch()
    (parts / ".1.jsonl.crc").write_bytes(b"\0\1")
    told = inside("import", "parts", "--input", "in.jsonl", "--answer", "said")
    assert (told.code, answers()) == (5, {"r0": "zero", "r1": None, "r2": None, "r3": '{"label": "x"}'})
    assert "out of memory (r2)" in told.err
    inside("import", "parts/a/0.parquet", "--input", "in.jsonl")
    assert answers() == {"r0": "zero", "r1": "one", "r2": None, "r3": '{"label": "x"}'}
    write("body.jsonl", [{"custom_id": "r2", "body": json.dumps(body("two"))}])
    inside("import", "body.jsonl", "--input", "in.jsonl").succeeded()


def test_files_that_are_not_for_the_input() -> None:
    """Results of another input are refused; single invalid lines are reported and skipped."""
    write("out.jsonl", [line("x0", "zero"), line("x1", "one")])
    inside(*IMPORT).failed(3, "2 results have no id of a request in in.jsonl; nothing was imported")
    Path("out.jsonl").write_text('{"custom_id": "r0"\n', encoding="utf-8")
    inside(*IMPORT).failed(3, "out.jsonl:1 is not a result", "--answer")
    inside("import", "none.jsonl", "-i", "in.jsonl").failed(3, "none.jsonl")
    assert inside("ls", "--json").json == []
    write("out.jsonl", [line("r0", "zero"), "text", {"answer": "no id"}, line("x1", "one"), line("r1", "one")])
    told = inside(*IMPORT)
    assert told.code == 5
    assert "1 result has an id that is not in in.jsonl" in told.err
    assert "out.jsonl:2 is not a result: it is not a JSON object (and 1 more)" in told.err
    assert list(answers().values()) == ["zero", "one", None, None]


def test_prune_keeps_imported_results() -> None:
    """`prune` does not delete imported results; after `rm` they can be imported again."""
    write("out.jsonl", [line(f"r{n}", str(n)) for n in range(4)])
    inside(*IMPORT, "-q").succeeded()
    inside("download", "-o", "got.jsonl").succeeded()
    inside("prune", "--older-than", "0s").succeeded()
    Path("got.jsonl").unlink()
    inside("download", "-o", "got.jsonl").succeeded()
    assert list(answers().values()) == ["0", "1", "2", "3"]
    inside("rm", "1").succeeded()
    inside(*IMPORT, "--json").succeeded()


def test_programs_import_too(faulty: FaultServer) -> None:
    """`Jobs.import_results` imports results, and `retry` needs a provider."""
    asked = [request(f"r{n}", "fault:", f"ask {n}") for n in range(2)]
    write("out.jsonl", [line("r1", "one")])
    with Jobs() as jobs:
        job = jobs.import_results("out.jsonl", asked, name="mine")
        assert (job.provider, job.ended, job.batch_ids) == ("imported", True, [])
        assert asyncio.run(job.wait_async()) is job
        assert [result.text for result in job.wait().results()] == [None, "one"]
        with pytest.raises(UsageError, match="no provider has it") as told:
            job.retry()
        assert told.value.hint == "name it: jobs.get(1).retry(provider=NAME)"
        assert job.retry(provider="faulty") == 1
        assert [result.text for result in job.wait().results()] == ["answer to r0", "one"]
        assert jobs.import_results(["out.jsonl"], asked).id == job.id
    assert len(faulty.batches) == 1


def test_exported_requests_are_answered_and_imported() -> None:
    """`export` writes requests to a table, `import` reads the answers, and `--unanswered` exports the rest."""
    duckdb = pytest.importorskip("duckdb")
    assert inside("export", "in.jsonl", "-o", "all.parquet", "--json").succeeded().json["requests"] == 4
    rows = duckdb.sql("SELECT * FROM 'all.parquet'").fetchall()
    assert [row[0] for row in rows] == ["r0", "r1", "r2", "r3"]
    assert {row[1:3] for row in rows} == {("POST", "/v1/chat/completions")}
    assert json.loads(rows[2][3]) == request("r2", "m", "ask 2")["body"]
    duckdb.sql("SELECT *, 'got ' || custom_id AS said FROM 'all.parquet' LIMIT 3").write_parquet("said.parquet")
    assert inside("import", "said.parquet", "-i", "in.jsonl", "--answer", "said").code == 5
    assert list(answers().values()) == ["got r0", "got r1", "got r2", None]
    inside("export", "1", "--unanswered", "-o", "rest.jsonl").succeeded()
    assert Path("rest.jsonl").read_bytes() == Path("in.jsonl").read_bytes().splitlines(keepends=True)[3]
    assert inside("export", "1", "-o", "job.jsonl").succeeded().err == "wrote 4 requests to job.jsonl\n"
    inside("export", "1", "--unanswered", "-o", "rest.jsonl").failed(1, "already exists")
    inside("export", "1", "-o", "in.jsonl", "--force").failed(2, "is an input file")
    inside("export", "1", "-o", "rest.csv").failed(2, ".csv files cannot be written")
    inside("export", "1", "-o", "rest").failed(2, "does not say the form")
    inside("export", "in.jsonl", "-o", "x.jsonl", "--unanswered").failed(2, "--unanswered is for jobs")


@pytest.mark.slow
def test_a_killed_import_is_repeated() -> None:
    """An import that is killed leaves no job or a complete one, and can be run again."""
    count = 5000
    write("in.jsonl", [request(f"r{n}", "m", f"ask {n}") for n in range(count)])
    write("out.jsonl", [line(f"r{n}", str(n)) for n in reversed(range(count))])
    for tenths in range(4, 16, 2):
        running = subprocess.Popen([*COMMAND, *IMPORT], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(tenths / 10)
        running.kill()
        running.wait()
        assert [job.requests for job in Registry().jobs()] in ([], [count])
    inside(*IMPORT).succeeded()
    (job,) = Registry().jobs()
    assert len(job.parts) == 1
    assert list(answers().values()) == [str(n) for n in range(count)]
