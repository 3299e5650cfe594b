"""`obatch results`, and the formats that `run` and `download` write: joined with the input, in its order, complete."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import ids, inside, invoke, plain, request, see, write
from support.sample_results import read_csv, read_json

from openai_batch.jobs.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.command import Result
    from support.faults import FaultServer
    from support.servers import LocalServer

needs_duckdb = pytest.mark.skipif(
    find_spec("duckdb") is None, reason="DuckDB is not installed: pip install 'openai-batch[tables]'"
)
TABLE = 'id,text,outcome,n\nb,"=1+1, then\nmore",old,-5\na,Grüße 🦜,older,+1\n'


def run(*words: str, rows: str = "", **good: Any) -> None:
    """Run a table of four rows at the provider that fails as planned, and check the exit code."""
    Path("t.csv").write_text("id,text\n" + "".join(f"r{n},text {n}\n" for n in range(4)), encoding="utf-8")
    result = invoke("run", "t.csv", "--id", "id", "-p", "faulty", "-m", f"fault:rows={rows}", *words)
    assert result.code == good.get("code", 0), result


@pytest.mark.slow
def test_a_table_becomes_a_csv_with_answers_beside_its_columns(real: LocalServer) -> None:
    """`run -o NAME.csv` keeps columns and order, and escapes formulas unless --no-inert is given."""
    assert real.token
    Path("t.csv").write_text(TABLE, encoding="utf-8")
    words = ("run", "t.csv", "--id", "id", "-p", "real", "-m", "echo-1", "-o", "out.csv")
    invoke(*words).succeeded()
    first, second = read_csv("out.csv")
    assert list(first)[:6] == ["custom_id", "id", "text", "input_outcome", "n", "answer"]
    assert first["text"] == "'=1+1, then\nmore"
    assert first["answer"] == "echo: =1+1, then\nmore"
    assert (first["custom_id"], first["outcome"], first["input_outcome"], first["n"]) == ("b", "success", "old", "-5")
    assert (second["text"], second["n"], second["model"]) == ("Grüße 🦜", "+1", "echo-1")
    assert (first["finish_reason"], first["prompt_tokens"], first["completion_tokens"]) == ("stop", "3", "4")
    invoke("results", "-o", "raw.csv", "--no-inert").succeeded()
    assert read_csv("raw.csv")[0]["text"] == "=1+1, then\nmore"


@pytest.mark.slow
def test_the_same_export_again_is_the_same_file(faulty: FaultServer) -> None:
    """The same command keeps its own output; another existing file needs --force."""
    run("-o", "out.csv")
    run("-o", "out.csv")
    assert len(faulty.creates) == 1
    before = Path("out.csv").read_bytes()
    Path("other.csv").write_text("mine", encoding="utf-8")
    invoke("results", "-o", "other.csv").failed(1, "other.csv already exists", "--force")
    told = invoke("results", "-o", "other.csv", "--force", "--json").succeeded().json
    assert told["results"]["path"] == "other.csv"
    assert Path("other.csv").read_bytes() == before


@pytest.mark.slow
def test_a_later_download_writes_the_same_table(faulty: FaultServer) -> None:
    """`download` uses the output, format and columns of `run`, unless it is given others."""
    words = ("t.txt", "--as", "csv", "--fields", "--no-inert")
    run("-o", *words, rows="objects")
    table = Path("t.txt").read_bytes()
    Path("t.txt").unlink()
    invoke("download").succeeded()
    assert Path("t.txt").read_bytes() == table
    invoke("download", "-o", "rows.csv").succeeded()
    assert Path("rows.csv").read_bytes() == table
    with Jobs() as jobs:
        assert jobs.get(1).download("api.csv").read_bytes() == table
    assert json.loads(invoke("results").succeeded().out.splitlines()[0])["label"] == "r0"
    assert "label" not in json.loads(invoke("results", "--no-fields").succeeded().out.splitlines()[0])
    invoke("download", "-o", "raw.jsonl").succeeded()
    assert '"response"' in Path("raw.jsonl").read_text()
    invoke("download").succeeded()  # again to the file of the last download
    assert '"response"' in Path("raw.jsonl").read_text()
    assert faulty.batches


@pytest.mark.slow
def test_options_of_run_are_kept_after_an_interruption(faulty: FaultServer) -> None:
    """After a `run` that timed out, `download` writes its output with the same options."""
    Path("t.csv").write_text("id,text\n1,hi\n", encoding="utf-8")
    model = "fault:rows=objects;steps=in_progress,in_progress"
    words = ("run", "t.csv", "-p", "faulty", "-m", model, "-o", "out.csv", "--fields", "--timeout", "0.1")
    invoke(*words).failed(124, "still")
    invoke("wait").succeeded()
    invoke("download").succeeded()
    assert [(row["text"], row["label"]) for row in read_csv("out.csv")] == [("hi", "line-1")]
    assert faulty.batches


@pytest.mark.slow
def test_errors_and_missing_rows_are_rows(faulty: FaultServer) -> None:
    """Each request is a row in input order, with an answer, an error, or neither."""
    assert faulty.base_url
    run("-o", "out.csv", "--missing", "rest.jsonl", rows="mixed,absent,shuffled", code=5)
    assert ids("rest.jsonl") == ["r1", "r2", "r3"]
    rows = read_csv("out.csv")
    assert [row["custom_id"] for row in rows] == ["r0", "r1", "r2", "r3"]
    assert [row["text"] for row in rows] == ["text 0", "text 1", "text 2", "text 3"]
    assert [row["outcome"] for row in rows] == ["success", "error", "missing", "missing"]
    assert [row["answer"] for row in rows] == ["answer to r0", "", "", ""]
    assert (rows[1]["error_code"], rows[1]["error_message"]) == ("400", "refused r1")
    piped = invoke("results")
    piped.failed(5, "2 missing (r2, r3)")
    assert [row["error_message"] for row in read_json(piped.out)] == [None, "refused r1", "no result", "no result"]


@pytest.mark.slow
def test_a_job_without_a_single_result_is_a_table_of_missing_rows(faulty: FaultServer) -> None:
    """If the whole batch failed, the table has a `missing` row for each request, and --missing has all of them."""
    assert faulty.base_url
    Path("p.txt").write_text("one\ntwo\n", encoding="utf-8")
    words = ("run", "p.txt", "-p", "faulty", "-m", "fault:end=failed", "--missing", "rest.jsonl")
    assert invoke(*words, "-o", "out.csv").code == 5
    rows = read_csv("out.csv")
    assert [(row["prompt"], row["outcome"]) for row in rows] == [("one", "missing"), ("two", "missing")]
    assert ids("rest.jsonl") == ["line-1", "line-2"]


@pytest.mark.parametrize("way", [invoke, see])
def test_force_replaces_the_file_of_failed_requests_too(faulty: FaultServer, way: Callable[..., Result]) -> None:
    """--force replaces the file of --missing, also if the results go to standard output."""
    assert faulty.base_url
    Path("p.txt").write_text("one\n", encoding="utf-8")
    Path("rest.jsonl").write_text("another\n", encoding="utf-8")
    words = ("run", "p.txt", "-p", "faulty", "-m", "fault:end=failed", "-o", "-", "--missing", "rest.jsonl", "--force")
    assert way(*words).code == 5
    assert ids("rest.jsonl") == ["line-1"]


def test_parquet_without_its_extra_is_refused_before_anything_is_sent(faulty: FaultServer) -> None:
    """Without DuckDB, a Parquet output is refused, and the hint installs the extra."""
    write("in.jsonl", [request("a")])
    Path("without").mkdir()
    Path("without/duckdb.py").write_text("raise ImportError\n", encoding="utf-8")
    result = invoke(
        "run", "in.jsonl", "-p", "faulty", "-o", "x.parquet", env={"PYTHONPATH": str(Path("without").absolute())}
    )
    result.failed(2, "DuckDB, which is not installed", "openai-batch[tables]")
    assert faulty.requests == []


@pytest.mark.slow
def test_a_pipe_gets_rows_and_a_terminal_a_preview(real: LocalServer) -> None:
    """`results` writes JSON rows to a pipe, and prompts and answers to a terminal."""
    assert real.token
    Path("p.txt").write_text("first\nsecond\n", encoding="utf-8")
    invoke("run", "p.txt", "-p", "real", "-m", "echo-1").succeeded()
    rows = read_json(invoke("results", "1").succeeded().out)
    assert [(row["custom_id"], row["prompt"], row["answer"]) for row in rows] == [
        ("line-1", "first", "echo: first"),
        ("line-2", "second", "echo: second"),
    ]
    shown = plain(see("results").succeeded().out)
    assert "line-2" in shown
    assert "request" in shown
    assert "echo: second" in shown
    assert '"custom_id"' not in shown


@pytest.mark.slow
def test_a_preview_counts_only_what_it_could_show(faulty: FaultServer) -> None:
    """The preview does not count missing results as further rows; the summary names them."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=absent") for n in range(4)])
    assert invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").code == 5
    shown = plain(see("results").out)
    assert "answer to r1" in shown
    assert "2 missing (r2, r3)" in shown
    assert "more" not in shown
    assert faulty.batches


def test_an_output_in_another_format_is_written_again(faulty: FaultServer) -> None:
    """An output in another format is written again; an output that was cut is replaced only with --force."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=cut,absent") for n in range(6)])
    words = ("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    told = "3 of 6 answered: 2 succeeded, 1 cut, 3 missing (r3, r4, r5)"
    assert told in inside(*words, "--as", "rows").err
    assert told in inside("download", "--as", "raw").err
    whole = Path("out.jsonl").read_bytes()
    assert whole.count(b'"response"') == 3
    assert told in inside(*words).err
    cut = whole.splitlines(keepends=True)[0]
    Path("out.jsonl").write_bytes(cut)
    inside(*words).failed(1, "out.jsonl already exists", "--force")
    assert Path("out.jsonl").read_bytes() == cut
    assert told in inside(*words, "--force").err
    assert Path("out.jsonl").read_bytes() == whole
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_ready_requests_have_rows_without_columns(faulty: FaultServer) -> None:
    """The results of a batch file, or of an adopted batch, are rows without input columns."""
    write("in.jsonl", [request("a"), request("b")])
    invoke("run", "in.jsonl", "-p", "faulty").succeeded()
    rows = read_json(invoke("results").succeeded().out)
    assert [list(row)[:2] for row in rows] == [["custom_id", "answer"]] * 2
    assert [row["answer"] for row in rows] == ["answer to a", "answer to b"]
    (batch,) = faulty.batches
    elsewhere = {"OBATCH_STATE_DIR": str(Path("elsewhere").absolute())}
    adopted = invoke("results", batch, "-p", "faulty", env=elsewhere).succeeded()
    assert read_json(adopted.out) == rows


@pytest.mark.slow
def test_parts_of_several_models_keep_the_order_of_the_table(faulty: FaultServer) -> None:
    """If a job has several batches, each answer is still in the row of its input."""
    Path("../home/config.toml").write_text(
        f'[providers.small]\nbase_url = "{faulty.base_url}"\napi_key_env = "TEST_KEY"\nmax_requests = 3\n',
        encoding="utf-8",
    )
    Path("t.jsonl").write_text("".join(f'{{"text": "t{n}", "k": {n}}}\n' for n in range(8)), encoding="utf-8")
    invoke("run", "t.jsonl", "-p", "small", "-m", "fault:rows=shuffled", "-o", "out.csv").succeeded()
    assert len(faulty.batches) == 3
    rows = read_csv("out.csv")
    assert [row["k"] for row in rows] == [str(n) for n in range(8)]
    assert [row["answer"] for row in rows] == [f"answer to line-{n + 1}" for n in range(8)]


@pytest.mark.slow
@needs_duckdb
def test_parquet_has_types(real: LocalServer) -> None:
    """Parquet columns have types: vectors are lists of numbers, and absent values are null."""
    import duckdb

    assert real.token
    table = [
        {"text": "=1\u0000\t", "n": 1, "x": 0.5, "yes": True, "mixed": 1, "deep": {"k": [1]}},
        {"text": "ü", "n": 2**40, "x": 2, "yes": None, "mixed": "a", "big": 10**18 * 100},
    ]
    write("t.jsonl", table)
    words = ("run", "t.jsonl", "-p", "real", "-e", "-m", "echo-embed", "--as", "parquet")
    invoke(*words).succeeded()
    with duckdb.connect(":memory:") as base:
        found = base.execute("SELECT * FROM 't.results.parquet'")
        types = {item[0]: str(item[1]) for item in found.description}
        rows = [dict(zip(types, row, strict=True)) for row in found.fetchall()]
    assert (
        types
        | {
            "n": "BIGINT",
            "x": "DOUBLE",
            "yes": "BOOLEAN",
            "mixed": "VARCHAR",
            "big": "VARCHAR",
            "answer": "DOUBLE[]",
            "prompt_tokens": "BIGINT",
            "completion_tokens": "BIGINT",
            "error_code": "VARCHAR",
        }
        == types
    )
    assert [row["text"] for row in rows] == ["=1\u0000\t", "ü"]
    assert [row["x"] for row in rows] == [0.5, 2.0]
    assert [row["deep"] for row in rows] == ['{"k":[1]}', None]
    assert [row["big"] for row in rows] == [None, str(10**20)]
    assert all(len(row["answer"]) == 8 for row in rows)
    before = Path("t.results.parquet").read_bytes()
    invoke(*words).succeeded()
    assert Path("t.results.parquet").read_bytes() == before


@pytest.mark.slow
def test_json_lines_stay_the_providers_own(faulty: FaultServer) -> None:
    """By default, and with --as raw or jsonl, results are the provider's lines; --as rows writes flat rows."""
    assert faulty.base_url
    run("-o", "out.jsonl")
    assert "response" in read_json(Path("out.jsonl").read_text(encoding="utf-8"))[0]
    assert ids("out.jsonl") == ["r0", "r1", "r2", "r3"]
    for form in ("raw", "jsonl"):
        assert invoke("results", "--as", form).succeeded().out == Path("out.jsonl").read_text(encoding="utf-8")
    invoke("download", "-o", "rows.jsonl", "--as", "rows").succeeded()
    assert Path("rows.jsonl").read_text(encoding="utf-8") == invoke("results").succeeded().out
    assert json.loads(Path("rows.jsonl").read_text(encoding="utf-8").splitlines()[3])["text"] == "text 3"


def test_output_options_are_checked_before_anything_is_sent(faulty: FaultServer) -> None:
    """An unknown format, and --fields without rows, are usage errors."""
    write("in.jsonl", [request("a")])
    invoke("run", "in.jsonl", "-p", "faulty", "--as", "xml").failed(2, "--as xml is not known", "parquet")
    invoke("run", "in.jsonl", "-p", "faulty", "--fields").failed(2, "--fields needs rows", "--as rows")
    assert faulty.requests == []


@pytest.mark.slow
def test_the_columns_are_those_of_the_latest_table(faulty: FaultServer) -> None:
    """If another table gives the same requests, the results are joined with its columns."""
    Path("t.csv").write_text("text,k\nhi,1\n", encoding="utf-8")
    words = ("run", "t.csv", "-p", "faulty", "-m", "m")
    invoke(*words, "-o", "one.csv").succeeded()
    Path("t.csv").write_text("text,k\nhi,2\n", encoding="utf-8")
    invoke(*words, "-o", "two.csv").succeeded()
    assert len(faulty.creates) == 1
    assert [read_csv(name)[0]["k"] for name in ("one.csv", "two.csv")] == ["1", "2"]


@pytest.mark.slow
def test_refused_and_cut_answers_are_answers(faulty: FaultServer) -> None:
    """Refused and cut answers count as answered and are not retried; with --strict the exit code is 5."""
    Path("t.csv").write_text("id,text\n" + "".join(f"r{n},text {n}\n" for n in range(4)), encoding="utf-8")
    words = (
        "run",
        "t.csv",
        "--id",
        "id",
        "-p",
        "faulty",
        "-m",
        "fault:rows=declined,cut",
        "-o",
        "out.csv",
        "--retries",
        "2",
    )
    summary = "4 of 4 answered: 2 succeeded, 1 cut, 1 refused"
    assert summary in invoke(*words, "--retries", "2", "--missing", "rest.jsonl").succeeded().err
    rows = read_csv("out.csv")
    assert [row["outcome"] for row in rows] == ["success", "refused", "cut", "success"]
    assert [row["answer"] for row in rows][1:3] == ["I can't.", "answer to r2"]
    assert Path("rest.jsonl").read_bytes() == b""
    for command in (words, ("results",), ("download", "-o", "raw.jsonl")):
        invoke(*command, "--strict").failed(5, summary, "--where refused,cut")
    told = invoke("download", "-o", "raw.jsonl", "--json").succeeded().json["results"]
    assert [told[name] for name in ("answered", "succeeded", "cut", "refused", "failed", "missing")] == [
        4,
        2,
        1,
        1,
        0,
        0,
    ]
    assert "would be sent" not in invoke("retry", "--dry-run", "--all").succeeded().err
    invoke("retry", "--where", "cut").succeeded()
    assert len(faulty.creates) == 2
    assert len(faulty.uploads[1].body.split(b"custom_id")) == 2


def test_a_table_that_is_downloaded_again(faulty: FaultServer) -> None:
    """A second download to the same file says that the job was downloaded before; one to another file does not."""
    write("in.jsonl", [request("a")])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.csv").succeeded()
    before = Path("out.csv").read_bytes()
    told = inside("download", "1").succeeded()
    assert "job 1 was downloaded before; " in told.err
    assert Path("out.csv").read_bytes() == before
    assert "before" not in inside("download", "1", "-o", "other.csv").succeeded().err
    assert "before" not in inside("download", "1", "-o", "other.csv", "--force").succeeded().err
    assert faulty.batches


def test_a_table_with_new_answers_was_not_downloaded_before(faulty: FaultServer) -> None:
    """After a retry, `download` does not say that the results were downloaded before."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=absent;late=-99") for n in range(4)])
    assert inside("run", "in.jsonl", "-p", "faulty", "-o", "out.csv").code == 5
    inside("retry", "1").succeeded()
    inside("wait", "1")
    assert "before" not in inside("download", "1").err
    assert len(faulty.batches) == 2
