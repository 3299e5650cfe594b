"""Rows that cannot be read are reported as file:line, all at once, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import invoke
from support.sample_results import read_csv
from support.sample_tables import prompts, requests, write_table

from openai_batch.errors import InputError
from openai_batch.files.lines import MAX_LINE_BYTES

if TYPE_CHECKING:
    from support.faults import FaultServer

CASES = {
    "few cells": ("t.csv", b"a,text\n1\n2,x\n", ":2: the row has 1 cell, but the header has 2"),
    "many cells": ("t.csv", b'a,text\n"1\n2",x\n1,2,3\n', ":4: the row has 3 cells, but the header has 2"),
    "broken cells": ("t.csv", b'a,text\n"1\n2",x,y\n', ":2: the row has 3 cells, but the header has 2"),
    "open quote": ("t.csv", b'a,text\n1,x\n1,"x\ny\n', ":3: a quote is opened here and never closed"),
    "stray quote": ("t.csv", b'a,text\n1,"x"y\n', ":2: text follows a closing quote"),
    "old Mac": ("t.csv", b"a,text\r1,x\r2,y", ":1: a carriage return has no newline after it"),
    "same names": ("t.csv", b"a,a\n1,2\n", ":1: two columns are called 'a'"),
    "bad bytes": ("t.csv", b"a,text\n1,ok\n2,\xff\n", ":3: not UTF-8 (byte 3)"),
    "bad header": ("t.csv", b"\xc3,text\n1,ok\n", ":1: not UTF-8 (byte 1)"),
    "bzip2": ("t.csv", b"BZh91AY", ":1: the file is compressed with bzip2"),
    "empty cell": ("t.csv", b"a,text\n1,x\n2, \n", ":3: the prompt is empty"),
    "long cell": ("t.csv", b"text\n" + b'"' + b"x\n" * (MAX_LINE_BYTES // 2 + 1) + b'"\n', ":2: a cell has more than"),
    "tabs": ("t.tsv", b"a\ttext\n1\n", ":2: the row has 1 cell, but the header has 2"),
    "no JSON": ("t.jsonl", b'{"text":"x"}\n{"text":}\n', ":2: not valid JSON"),
    "half a pair": ("t.jsonl", b'{"text":"\\ud800"}\n', ":1: not valid JSON: \\ud800 is half of a surrogate pair"),
    "not finite": ("t.jsonl", b'{"text":"x","a":NaN}\n', ":1: not valid JSON: it contains NaN"),
    "no object": ("t.jsonl", b'{"text":"x"}\n["x"]\n', ":2: the line is not a JSON object"),
    "deep": ("t.jsonl", b'{"text":' + b"[" * 300 + b"]" * 300 + b"}\n", ":1: the JSON is nested too deeply"),
    "deeper": ("t.jsonl", b'{"text":' + b"[" * 90000 + b"]" * 90000 + b"}\n", ":1: the JSON is nested too deeply"),
    "no column": ("t.jsonl", b'{"text":"x","a":1}\n{"a":1}\n', ":2: there is no column 'text'; the only column is a"),
    "null": ("t.jsonl", b'{"text":null}\n', ":1: the prompt is empty"),
    "bad prompt": ("t.txt", b"ok\n\xff\n", ":2: not UTF-8 (byte 1)"),
    "long prompt": ("t.txt", b"ok\n" + b"x" * (MAX_LINE_BYTES + 1), ":2: the line has 10,000,001 bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_bad_row_is_reported_at_its_line(case: str) -> None:
    """A bad row is reported once, at its own line, with a hint."""
    name, content, told = CASES[case]
    Path(name).write_bytes(content)
    with pytest.raises(InputError, match="the input has 1 problem; nothing was prepared") as caught:
        requests(name)
    assert f"\n{name}{told}" in str(caught.value)
    assert caught.value.hint


def test_all_problems_are_reported_and_nothing_is_published() -> None:
    """The problems of all files are reported at once, up to a limit; the exit code is 3 and no file is written."""
    Path("a.csv").write_text("a,text\n1\n2,x\n3\n", encoding="utf-8")
    Path("b.csv").write_text("a,text\n" + "1\n" * 200, encoding="utf-8")
    result = invoke("prepare", "a.csv", "b.csv", "-m", "m", "-o", "out.jsonl")
    result.failed(3, "the input has 202 problems; nothing was prepared", "--format")
    lines = [line.strip() for line in result.err.splitlines()]
    assert lines[1].startswith("a.csv:2: ")
    assert lines[2].startswith("a.csv:4: ")
    assert lines[100].startswith("b.csv:99: ")
    assert lines[101] == "… and 102 more"
    assert sorted(path.name for path in Path().iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.slow
def test_template_faults_name_the_row_and_the_columns() -> None:
    """An undefined column is reported with the columns that exist, any other template error with its reason."""
    Path("t.jsonl").write_text('{"a":1,"text":"x"}\n{"text":"x"}\n', encoding="utf-8")
    for template in ("{{ a }} {{ text }}", "{{ a + 1 }} {{ text }}", "{{ a|upper }} {{ text }}"):
        result = invoke("prepare", "t.jsonl", "-m", "m", "--prompt", template).failed(3, "1 problem", "the name")
        assert "t.jsonl:2: 'a' is undefined; the only column is text" in result.err
    result = invoke("prepare", "t.jsonl", "-m", "m", "--prompt", "{{ text / 2 }}").failed(3, "2 problems", "fix")
    assert "t.jsonl:1: the template fails: unsupported operand" in result.err


def test_quoted_newlines_marks_and_long_cells_are_right() -> None:
    """Files with a byte order mark, CRLF, quoted newlines, blank lines or very long cells are read correctly."""
    long = "y" * 300_000
    content = f'\ufeffid,text\r\n1,"a\r\nb ""c"""\r\n\r\n2,{long}\r\n3,last'
    Path("t.csv").write_bytes(content.encode())
    found = requests("t.csv", id_column="id")
    assert [item["custom_id"] for item in found] == ["1", "2", "3"]
    assert prompts(found) == ['a\r\nb "c"', long, "last"]


def test_a_semicolon_separated_table_is_recognised() -> None:
    """A table with semicolons, as some spreadsheets write it, is recognized by its header."""
    Path("t.csv").write_text('id;text\n1;"a;b, c"\n', encoding="utf-8")
    assert prompts(requests("t.csv")) == ["a;b, c"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.db"])
def test_a_table_without_rows_is_refused(name: str) -> None:
    """A table without rows exits with code 3 and says so."""
    if name == "t.db":
        write_table(Path(name), [{"text": "x"}])
        invoke("prepare", name, "-m", "m", "--sql", "SELECT * FROM reviews WHERE 0").failed(
            3, "there is no row", "one row"
        )
        return
    Path(name).write_text("id,text\n" if name == "t.csv" else "\n", encoding="utf-8")
    invoke("prepare", name, "-m", "m").failed(3, f"{name}: there is no row", "one row")


def test_a_cell_with_bytes_is_refused() -> None:
    """A cell that contains bytes is an error at its row."""
    write_table(Path("t.db"), [{"text": "x"}, {"text": b"\xff"}])
    with pytest.raises(InputError, match=r"t\.db:2: the cell contains bytes"):
        requests("t.db")


@pytest.mark.slow
def test_a_dry_run_counts_rows() -> None:
    """`run --dry-run` shows how many requests would be sent for a table."""
    write_table(Path("t.csv"), [{"text": "x"}, {"text": "y"}])
    result = invoke("run", "t.csv", "-p", "openai", "-n", env={"OPENAI_API_KEY": "sk-none"}).succeeded()
    assert "2 requests for /v1/chat/completions" in result.err
    assert json.dumps("x") not in result.out


@pytest.mark.slow
def test_run_skips_empty_rows(faulty: FaultServer) -> None:
    """`run --skip-empty` says how many rows it skipped, and joins each answer with its own row."""
    Path("t.csv").write_text("id,text\n1,a\n2,\n3,c\n", encoding="utf-8")
    words = ("run", "t.csv", "-p", "faulty", "-m", "echo-1", "-o", "out.csv")
    invoke(*words).failed(3, "t.csv:3: the prompt is empty", "--skip-empty")
    result = invoke(*words, "--skip-empty").succeeded()
    assert "2 prompts from column text, model echo-1, 1 empty row skipped\n" in result.err
    assert [(row["custom_id"], row["id"]) for row in read_csv("out.csv")] == [("line-1", "1"), ("line-3", "3")]
    assert len(faulty.batches) == 1
    invoke("run", "none*.csv", "-p", "faulty").failed(3, "none*.csv: no file matches", "name a file")
