"""Detection of the input format: delimiters, JSON, UTF-16, workbooks, and files that cannot be read."""

from __future__ import annotations

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.sample_tables import prompts, requests, write_csv

from openai_batch.errors import InputError, UsageError

ROWS = [{"id": 1, "text": "The phone, great"}, {"id": 2, "text": "é; it|broke\tdown"}]
TEXTS = [str(row["text"]) for row in ROWS]
needs_calamine = pytest.mark.skipif(find_spec("python_calamine") is None, reason="python-calamine is not installed")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.txt", "t.CSV", "t.psv", "t.tsv", "t.dat", "t"])
def test_delimiters_are_found(name: str, delimiter: str) -> None:
    """A table is read with any delimiter and any file name."""
    write_csv(Path(name), ROWS, delimiter)
    assert prompts(requests(name)) == TEXTS


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_one_column_has_no_delimiter(name: str) -> None:
    """If the header contains no known delimiter, the usual delimiter for the file name is used."""
    Path(name).write_text("text\na;b|c\n", encoding="utf-8")
    assert prompts(requests(name)) == ["a;b|c"]
    Path(name).write_text('"a; b",text\n1,x\n' if name == "t.csv" else "a,b,c\ttext\n1\tx\n", encoding="utf-8")
    assert prompts(requests(name)) == ["x"]


@pytest.mark.parametrize("header", ["id,text", "id\ttext", "Review Text|Stars", "id;text"])
def test_a_table_in_a_file_of_prompts_is_refused(header: str) -> None:
    """A .txt file that looks like a table is refused, unless `--format` is given."""
    other = header.replace("id", "7").replace("text", "x").replace("Review Text", "Good").replace("Stars", "5")
    Path("t.txt").write_text(f"{header}\n{other}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"t\.txt looks like a table") as caught:
        requests("t.txt")
    assert "--format txt" in caught.value.hint
    assert prompts(requests("t.txt", choice={"format": "txt"})) == [header, other]


def test_prompts_with_commas_stay_prompts() -> None:
    """Sentences are not read as a table, even if each has the same number of commas."""
    lines = ["Hello, world", "Well, yes", "So, what?"]
    Path("t.txt").write_text("\n".join(lines), encoding="utf-8")
    assert prompts(requests("t.txt")) == lines


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.txt", "t.csv", "t"])
@pytest.mark.parametrize("shape", ["lines", "array", "one line", "indented array", "indented", "lines in an array"])
def test_json_of_every_shape_is_read(name: str, shape: str) -> None:
    """JSON lines, arrays, and objects over several lines give the same rows with any file name."""
    lines = [json.dumps(row) for row in ROWS]
    text = {
        "lines": "\n".join(lines),
        "array": "[" + ",\n".join(lines) + "]",
        "one line": json.dumps(ROWS),
        "indented array": json.dumps(ROWS, indent=2),
        "indented": "\r\n".join(json.dumps(row, indent=2) for row in ROWS),
        "lines in an array": "[\n" + ",\n".join(lines) + "\n]\n",
    }[shape]
    Path(name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert prompts(requests(name)) == TEXTS


def test_problems_in_an_array_have_their_line() -> None:
    """A problem in an array is reported with the line on which its object begins."""
    rows: list[dict[str, Any]] = [{"a": 1, "text": "x"}, {"a": 1, "text": ""}, {"a": 1, "text": None}]
    Path("t.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        requests("t.json")
    assert [problem.line for problem in caught.value.problems] == [6, 10]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "t.json:1: the JSON array is empty"),
        ("[\n\n]", "t.json:3: the JSON array is empty"),
        ('[\n{"text": "a"},\n{"text": "b"}\n', "t.json:4: the JSON array is not closed"),
        ('[\n{"text": "a"}\n{"text": "b"}\n]', "t.json:3: not valid JSON: a comma is missing"),
        ('[\n{"text": "a"},\n{"text": b}\n]', "t.json:3: not valid JSON: Expecting value"),
        ('[\n{"text": "a"}\n]\n{"text": "b"}', "t.json:4: there is text after the JSON array"),
        ('{\n"text": "a"\n}\n{\n"text": \n}', "t.json:6: not valid JSON"),
        ('[\n{"text": ' + "[" * 99999, "t.json:2: the JSON is nested too deeply"),
        ('[\n{"text": "a"},\n7\n]', "t.json:3: the line is not a JSON object"),
    ],
)
def test_a_broken_document_is_one_problem(text: str, told: str) -> None:
    """An error in a JSON document is reported once, with its line."""
    Path("t.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        requests("t.json")
    assert told in str(caught.value)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_texts_is_prompts(indent: int | None) -> None:
    """The strings of a JSON array are prompts."""
    Path("t.json").write_text(json.dumps(TEXTS, indent=indent), encoding="utf-8")
    assert prompts(requests("t.json")) == TEXTS


def test_prompts_that_begin_like_json_are_prompts() -> None:
    """Prompts that begin with brackets are not read as JSON."""
    for lines in (
        ["{", "code", "}"],
        ["[INST] a [/INST]", "b"],
        ["{name} is nice", "x"],
        ['["a", "b"] is a list?', "x"],
    ):
        Path("t.txt").write_text("\n".join(lines), encoding="utf-8")
        assert prompts(requests("t.txt")) == lines


def test_the_delimiter_line_of_excel_is_not_the_header() -> None:
    """`sep=|` above the header, as Excel writes it, sets the delimiter."""
    Path("t.csv").write_text("sep=|\r\nid|text, short, or not\r\n1|a\r\n2\r\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.csv:4: the row has 1 cell"):
        requests("t.csv", prompt="{{ id }}")


def test_a_large_array_is_read_object_by_object() -> None:
    """Objects larger than one read, and the objects next to them, are read completely."""
    texts = ["x", "y" * 300_000, "é" * 70_000, "z", *map(str, range(20_000))]
    Path("t.json").write_text(json.dumps([{"text": text} for text in texts], ensure_ascii=False), encoding="utf-8")
    assert prompts(requests("t.json")) == texts


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.txt", "t.json"])
def test_wide_encodings_are_read(name: str, encoding: str) -> None:
    """UTF-16 and UTF-32 with a byte order mark are read."""
    text = {
        "t.csv": 'id,text\r\n1,"The phone, great"\r\n2,"é; it|broke\tdown"\r\n',
        "t.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
        "t.txt": "\n".join(TEXTS),
        "t.json": json.dumps(ROWS, indent=1),
    }[name]
    Path(name).write_bytes(text.encode(encoding))
    assert prompts(requests(name)) == TEXTS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_wide_text_without_a_mark_is_read(encoding: str) -> None:
    """UTF-16 without a byte order mark is recognized by its zero bytes."""
    Path("t.csv").write_bytes("id,text\n1,é\n".encode(encoding))
    assert prompts(requests("t.csv")) == ["é"]


def test_a_truncated_wide_character_is_an_error() -> None:
    """A UTF-16 file that ends in the middle of a character is an error."""
    Path("t.txt").write_bytes("abc\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match=r"t\.txt:1: not valid UTF-16"):
        requests("t.txt")


def write_workbook(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """Write a workbook with these sheets."""

    def cell(value: object) -> str:
        if isinstance(value, int | float):
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if value else "<c/>"

    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{base}/worksheet" Target="worksheets/{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        book.writestr(
            "_rels/.rels",
            f'<Relationships {package}><Relationship Id="r" Type="{base}/officeDocument" Target="xl/workbook.xml"/>'
            "</Relationships>",
        )
        book.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{base}"><sheets>{names}</sheets></workbook>')
        book.writestr("xl/_rels/workbook.xml.rels", f"<Relationships {package}>{links}</Relationships>")
        for number, rows in enumerate(sheets.values(), 1):
            data = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            sheet = f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>"
            book.writestr(f"xl/worksheets/{number}.xml", sheet)


@needs_calamine
@pytest.mark.parametrize("name", ["t.xlsx", "t.bin"])
def test_workbooks_are_read(name: str) -> None:
    """A workbook's only sheet, or the one that `--table` names, is read; whole numbers have no decimal point."""
    table: list[list[object]] = [["id", "text", ""], [1, "a", ""], ["", "", ""], [2, "b", ""]]
    write_workbook(Path(name), {"Sheet": table})
    found = requests(name, prompt="{{ id }} {{ text }}")
    assert prompts(found) == ["1 a", "2 b"]
    write_workbook(Path(name), {"One": table, "Two": [["text"], ["c"]]})
    with pytest.raises(InputError, match="say which sheet") as caught:
        requests(name)
    assert "One, Two" in caught.value.hint
    assert prompts(requests(name, choice={"table": "Two"})) == ["c"]
    with pytest.raises(InputError, match="no sheet 'Three'"):
        requests(name, choice={"table": "Three"})


KINDS = {
    "t.pdf": (b"%PDF-1.7\n\xff\xfe\n", "a PDF document"),
    "t.pkl": (b"\x80\x05\x95\x10\0\n", "a Python pickle"),
    "t.duckdb": (b"\1\2\3\4\5\6\7\1DUCK@\0", "a DuckDB database"),
    "t.zip": (b"PK\x03\x04\x14\0\0\0\0\0", "a ZIP archive"),
    "t.arrow": (b"ARROW1\0\0\xff", "an Arrow table"),
    "t.png": (b"\x89PNG\r\n\x1a\n", "an image"),
}


@pytest.mark.parametrize("name", KINDS)
def test_other_files_are_named(name: str) -> None:
    """A file of an unsupported kind is reported once, with its kind."""
    content, told = KINDS[name]
    Path(name).write_bytes(content)
    with pytest.raises(InputError, match=f":1: the file is {told}") as caught:
        requests(name)
    assert len(caught.value.problems) == 1


def test_an_office_document_that_is_not_a_workbook() -> None:
    """An old Word document or a damaged workbook is reported as a workbook that cannot be read."""
    Path("t.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    with pytest.raises(InputError, match=r"t\.doc: the workbook cannot be read") as caught:
        requests("t.doc")
    assert "CSV" in caught.value.hint


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.json", "t"])
def test_an_empty_file_is_an_error(name: str) -> None:
    """An empty file is an error that says so."""
    Path(name).touch()
    with pytest.raises(InputError, match=f"{name}: the file is empty"):
        requests(name)


def test_a_binary_file_is_one_problem() -> None:
    """A binary file is reported as one problem; with `--format` its lines are checked as text."""
    Path("picture").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(InputError, match="picture: it is not text") as caught:
        requests("picture")
    assert "name a file of prompts" in caught.value.hint
    with pytest.raises(InputError, match="not UTF-8"):
        requests("picture", choice={"format": "txt"})


def test_prompts_in_a_jsonl_file_are_one_problem() -> None:
    """A file of prompts named .jsonl is reported as one problem, not one for each line."""
    Path("t.jsonl").write_text("Tell me\nHi\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"t\.jsonl has no JSON objects") as caught:
        requests("t.jsonl")
    assert "--format txt" in caught.value.hint
    Path("t.jsonl").write_text('# a comment\n{"text":"a"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.jsonl:1: not valid JSON"):
        requests("t.jsonl")
