"""Every table format becomes requests and answers, with the real command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import ids, invoke, plain, request, see, write
from support.sample_results import read_csv
from support.sample_tables import needs_duckdb, prompts, requests, write_sqlite, write_table

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

ROWS = [
    {"id": "r1", "text": 'Great "stuff",\nreally', "stars": "5"},
    {"id": "r2", "text": "Ünïcödé 🙂", "stars": "1"},
]
FORMATS = ["t.csv", "t.tsv", "t.jsonl", "t.db", "t.csv.gz", "t.tsv.zst", "t.jsonl.gz", "t.csv.zst"]
PARQUET = [pytest.param(name, marks=needs_duckdb) for name in ("t.parquet", "t.parquet.gz")]


def results(name: str) -> Path:
    """Return the default output path of a table."""
    return Path(f"{Path(name).stem}.results.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, *PARQUET])
def test_a_table_becomes_requests(name: str) -> None:
    """`prepare` fills in the template and takes ids from a column, for every format."""
    write_table(Path(name), ROWS)
    words = ("prepare", name, "-m", "echo-1", "--prompt", "{{ stars }}: {{ text }}", "--id", "id")
    found = [json.loads(line) for line in invoke(*words).succeeded().out.splitlines()]
    assert [item["custom_id"] for item in found] == ["r1", "r2"]
    assert prompts(found) == [f"{row['stars']}: {row['text']}" for row in ROWS]
    assert {item["url"] for item in found} == {"/v1/chat/completions"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, *PARQUET])
def test_a_table_becomes_answers(real: LocalServer, name: str) -> None:
    """`run` writes one answer per row, in the order of the table."""
    assert real.token
    write_table(Path(name), ROWS)
    invoke("run", name, "-p", "real", "-m", "echo-1", "--id", "id", "--system", "Stars: {{ stars }}").succeeded()
    lines = [json.loads(line) for line in results(name).read_text(encoding="utf-8").splitlines()]
    assert [line["custom_id"] for line in lines] == ["r1", "r2"]
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert texts == [f"echo: {row['text']}" for row in ROWS]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FORMATS, *PARQUET])
def test_a_table_is_complete_after_faults(faulty: FaultServer, name: str) -> None:
    """After a lost answer and shuffled results, there is one batch, and the rows are in order."""
    write_table(Path(name), ROWS)
    plan = "fault:create=made.reset;poll=500;rows=shuffled"
    words = ("run", name, "-p", "faulty", "-m", plan, "--id", "id", "-o", "out.csv")
    invoke(*words).succeeded()
    assert [(row["custom_id"], row["text"]) for row in read_csv("out.csv")] == [
        (row["id"], row["text"]) for row in ROWS
    ]
    assert len(faulty.batches) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.db", pytest.param("t.parquet", marks=needs_duckdb)])
def test_a_pipe_is_recognised(name: str) -> None:
    """The format of standard input is recognized by its content."""
    write_table(Path(name), ROWS)
    found = invoke("prepare", "-m", "echo-1", stdin=Path(name).read_bytes()).succeeded().out
    assert prompts([json.loads(line) for line in found.splitlines()]) == [row["text"] for row in ROWS]


def test_prompts_in_a_pipe_stay_prompts() -> None:
    """Lines with commas are prompts, and --format txt makes prompts of lines that look like a table."""
    found = invoke("prepare", "-m", "m", stdin="Hello, world\nWell, yes\n").succeeded().out
    assert prompts([json.loads(line) for line in found.splitlines()]) == ["Hello, world", "Well, yes"]
    found = invoke("prepare", "-m", "m", "--format", "txt", stdin="a,text\nb,c\n").succeeded().out
    assert prompts([json.loads(line) for line in found.splitlines()]) == ["a,text", "b,c"]


@pytest.mark.slow
def test_several_files_and_globs() -> None:
    """Files are read in the given order, those of a pattern by name, and rows are numbered across files."""
    write_table(Path("b1.csv"), ROWS[:1])
    write_table(Path("b2.jsonl"), ROWS[1:])
    Path("a.txt").write_text("first\n", encoding="utf-8")
    found = requests("a.txt", "b*")
    assert [item["custom_id"] for item in found] == ["line-1", "line-2", "line-3"]
    assert prompts(found) == ["first", ROWS[0]["text"], ROWS[1]["text"]]
    invoke("prepare", "c*.csv", "-m", "m").failed(3, "c*.csv: no file matches", "name a file")
    invoke("run", "a.txt", "b1.csv", "-p", "openai").failed(2, "several inputs", "-o")


def test_limit_takes_the_first_rows() -> None:
    """--limit counts rows over all files, and later rows are not read."""
    write_table(Path("t.csv"), ROWS)
    Path("u.csv").write_text("text\nthird\na,b\n", encoding="utf-8")
    assert len(requests("t.csv", "u.csv", limit=3)) == 3
    assert len(invoke("prepare", "t.csv", "-m", "m", "--limit", "1").succeeded().out.splitlines()) == 1


@pytest.mark.slow
def test_ready_requests_stay_as_they_are(real: LocalServer) -> None:
    """`run` sends a batch file unchanged and refuses options for rows; `prepare` refuses the file."""
    assert real.token
    write("in.jsonl", [request("a")])
    invoke("run", "in.jsonl", "-p", "real").succeeded()
    assert ids("in.results.jsonl") == ["a"]
    invoke("run", "in.jsonl", "-p", "real", "--prompt", "{{ x }}").failed(2, "is a batch file", "--format jsonl")
    invoke("prepare", "in.jsonl", "-m", "m").failed(2, "in.jsonl is a batch file", "obatch submit in.jsonl")


def test_a_table_with_columns_of_a_request() -> None:
    """A table with some keys of a request is a table; a request with missing keys is not."""
    Path("pages.jsonl").write_text('{"url":"https://a.example","body":"Hi","text":"x"}\n', encoding="utf-8")
    assert prompts(requests("pages.jsonl", prompt="{{ url }} {{ body }}")) == ["https://a.example Hi"]
    for line in ('{"custom_id":"a","body":{}}', '{"custom_id":"a","method":"POST","url":"/v1/embeddings"}'):
        Path("odd.jsonl").write_text(line + "\n", encoding="utf-8")
        invoke("prepare", "odd.jsonl", "-m", "m").failed(2, "is a batch file", "--format jsonl")


@pytest.mark.slow
def test_sqlite_tables_and_queries() -> None:
    """--table and --sql select rows from a database, which is not changed; unknown names are reported."""
    write_table(Path("t.db"), ROWS)
    write_sqlite(Path("t.db"), [{"prompt": "Hi"}], 'odd "name')
    before = Path("t.db").read_bytes()
    assert prompts(requests("t.db", choice={"table": 'odd "name'})) == ["Hi"]
    query = "SELECT text || '!' AS text FROM reviews ORDER BY id DESC LIMIT 1"
    assert prompts(requests("t.db", choice={"sql": query})) == ["Ünïcödé 🙂!"]
    words = ("prepare", "t.db", "-m", "m")
    invoke(*words).failed(3, "which table", "reviews")
    invoke(*words, "--table", "nope").failed(3, "no table 'nope'", "reviews")
    invoke(*words, "--sql", "SELECT nope FROM reviews").failed(3, "no such column: nope", "query")
    invoke(*words, "--sql", "DROP TABLE reviews").failed(3, "readonly database", "query")
    for statement in ("ATTACH 'made.db' AS other", "VACUUM INTO 'made.db'"):
        invoke(*words, "--sql", statement).failed(3, "too many attached databases", "query")
    assert not Path("made.db").exists()
    invoke(*words, "--sql", "SELECT hex(zeroblob(9000000)) AS text").failed(3, "too big")
    invoke(*words, "--sql", "SELECT id, id FROM reviews").failed(3, "two columns are called 'id'", "AS")
    assert Path("t.db").read_bytes() == before


@pytest.mark.slow
@needs_duckdb
def test_queries_over_local_files() -> None:
    """--sql without a file reads the files that it names, in the order of the query, and writes none."""
    write_table(Path("t.parquet"), ROWS)
    write_table(Path("u.csv"), ROWS)
    query = "SELECT t.text, u.stars FROM 't.parquet' t JOIN 'u.csv' u USING (id) ORDER BY id DESC"
    found = invoke("prepare", "--sql", query, "-m", "m", "--prompt", "{{ stars }} {{ text }}").succeeded().out
    assert prompts([json.loads(line) for line in found.splitlines()]) == ["1 Ünïcödé 🙂", '5 Great "stuff",\nreally']
    words = ("prepare", "-m", "m", "--sql")
    invoke(*words, "COPY (SELECT 1) TO 'made.csv'").failed(2, "one SELECT", "query")
    invoke(*words, "SELECT 1; SELECT 2").failed(2, "one SELECT", "query")
    invoke(*words, "SELEC 1").failed(2, "--sql", "query")
    invoke(*words, "SELECT * FROM 'nope.parquet'").failed(3, "nope.parquet", "query")
    away = "SELECT * FROM 'https://127.0.0.1:9/x.parquet'"
    invoke(*words, away).failed(1, "cannot be reached", "nothing was written")
    Path("bad.parquet").write_bytes(b"PAR1 and no more")
    invoke("prepare", "bad.parquet", "-m", "m").failed(3, "bad.parquet", "Parquet")
    invoke("prepare", "t.parquet", "-m", "m", "--sql", "SELECT 1").failed(2, "--sql with a file", "in the query")
    assert sorted(path.name for path in Path().iterdir()) == ["bad.parquet", "t.parquet", "u.csv"]


def test_show_prints_and_writes_nothing() -> None:
    """--show prints the first requests, indented in a terminal, and writes no file."""
    write_table(Path("t.csv"), ROWS)
    words = ("prepare", "t.csv", "-m", "m", "--show", "1", "-o", "out.jsonl")
    assert [json.loads(line)["custom_id"] for line in invoke(*words).succeeded().out.splitlines()] == ["line-1"]
    note, _, shown = plain(see(*words).succeeded().out).partition("\n")
    assert note == "prompts from column text"
    assert json.loads(shown)["body"]["messages"][0]["content"] == ROWS[0]["text"]
    assert '  "custom_id": "line-1"' in shown
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


def test_without_duckdb_the_extra_is_named() -> None:
    """Without DuckDB, a Parquet file is an error, and the hint installs the extra."""
    Path("t.parquet").write_bytes(b"PAR1")
    Path("block/duckdb").mkdir(parents=True)
    Path("block/duckdb/__init__.py").write_text("raise ImportError", encoding="utf-8")
    result = invoke("prepare", "t.parquet", "-m", "m", env={"PYTHONPATH": str(Path("block").absolute())})
    result.failed(2, "DuckDB, which is not installed", "openai-batch[tables]")
