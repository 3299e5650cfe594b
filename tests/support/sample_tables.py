"""Write tables in every format, and make requests from them in this process."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from openai_batch.files.compression import _zstd
from openai_batch.inputs.formats import Inputs
from openai_batch.inputs.prepare import prepare
from openai_batch.inputs.request_spec import RequestSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

needs_duckdb = pytest.mark.skipif(
    find_spec("duckdb") is None, reason="DuckDB is not installed: pip install 'openai-batch[tables]'"
)

Rows = list[dict[str, Any]]


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> None:
    """Write a table with a header with Python's csv module."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_table(path: Path, rows: Rows) -> Path:
    """Write a table in the format and with the compression of the name's extensions."""
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    kind = plain.suffix
    if kind in (".csv", ".tsv"):
        write_csv(plain, rows, "\t" if kind == ".tsv" else ",")
    elif kind == ".jsonl":
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == ".txt":
        plain.write_text("".join(f"{row['text']}\n" for row in rows), encoding="utf-8")
    elif kind == ".parquet":
        write_parquet(plain, rows)
    else:
        write_sqlite(plain, rows)
    if plain != path:
        pack = gzip.compress if path.suffix == ".gz" else _zstd().compress
        path.write_bytes(pack(plain.read_bytes()))
        plain.unlink()
    return path


def write_parquet(path: Path, rows: Rows) -> None:
    """Write a Parquet file with DuckDB."""
    import duckdb

    source = path.with_name("rows.tmp.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with duckdb.connect(":memory:") as base:
        base.execute(f"COPY (SELECT * FROM read_json('{source}')) TO '{path}' (FORMAT parquet)")  # noqa: S608
    source.unlink()


def write_sqlite(path: Path, rows: Rows, table: str = "reviews") -> None:
    """Write a SQLite database with one table."""
    columns = ", ".join(f'"{name}"' for name in rows[0])
    quoted = '"' + table.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(f"CREATE TABLE {quoted} ({columns})")
        marks = ", ".join("?" for _ in rows[0])
        base.executemany(f"INSERT INTO {quoted} VALUES ({marks})", [tuple(row.values()) for row in rows])  # noqa: S608


def requests(*names: str | Path, choice: dict[str, str] | None = None, **recipe: Any) -> list[dict[str, Any]]:
    """Return the requests made from these inputs."""
    target = io.BytesIO()
    limit = recipe.pop("limit", None)
    with TemporaryDirectory() as folder:
        inputs = Inputs([str(name) for name in names], Path(folder), **(choice or {}))
        made = prepare(inputs.tables(), RequestSpec("echo-1", **recipe), target, limit=limit)
    lines = target.getvalue().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == made.requests
    return [json.loads(line) for line in lines]


def prompts(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the last message of each chat request."""
    return [request["body"]["messages"][-1]["content"] for request in found]


def spreadsheet(path: Path, *rows: str) -> Path:
    """Write an OpenDocument workbook with these rows."""
    office = "urn:oasis:names:tc:opendocument:xmlns"
    names = " ".join(f'xmlns:{name}="{office}:{name}:1.0"' for name in ("office", "table", "text"))
    content = f"<table:table table:name='s'>{''.join(rows)}</table:table>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        content = f"<office:body><office:spreadsheet>{content}</office:spreadsheet></office:body>"
        archive.writestr("content.xml", f"<office:document-content {names}>{content}</office:document-content>")
    return path


def cells(text: str, columns: int = 1, rows: int = 1) -> str:
    """Return rows of an OpenDocument workbook that repeat a text."""
    repeated = f"office:value-type='string' table:number-columns-repeated='{columns}'"
    cell = f"<table:table-cell {repeated}><text:p>{text}</text:p></table:table-cell>"
    return f"<table:table-row table:number-rows-repeated='{rows}'>{cell}</table:table-row>"
