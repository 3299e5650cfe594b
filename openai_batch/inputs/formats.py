"""Read prompts, tables and query results from files, globs, pipes and databases.

The format of a file is `--format` if given. Otherwise its first bytes decide, and whether its first line is a JSON
object, then the suffix of its name (without `.gz` and `.zst`), then what its first lines look like.
"""

from __future__ import annotations

import csv
import re
import shutil
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import InputError, UsageError
from openai_batch.files.lines import lines
from openai_batch.files.object_store import is_address
from openai_batch.files.signatures import other_kind
from openai_batch.requests.check import AnyRequest, decode_any
from openai_batch.requests.join import globbed, join
from openai_batch.requests.source import SNIFF, Source, as_word, open_source

from .readers import Prompts, csv_rows, delimiter_of, jsonl_rows
from .workbook import is_workbook, workbook_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .readers import Rows

FORMATS = ("txt", "csv", "tsv", "jsonl", "parquet", "sqlite", "xlsx")
REQUESTS = "requests"
"""The kind of a batch input file, which contains requests and not a table."""

_SUFFIXES = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".psv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xlsb": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
}
_MAGIC = ((b"PAR1", "parquet"), (b"SQLite format 3\0", "sqlite"))
_OBJECT_OR_ARRAY = re.compile(rb"^\s*[{\[]", re.MULTILINE)
_NAME = re.compile(r"[^\W\d](?:[\w .()/#%-]{0,38}[\w)%])?")  # of a column; a sentence is longer, or has other marks


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows can be read once."""

    name: str  # the name for messages
    kind: str  # one of FORMATS, or `sql`
    rows: Rows  # the rows, each with its place; a row that cannot be read is a problem instead
    # The user's file; relative paths in cells start at its folder. None for a pipe, an address or a query.
    origin: Path | None


@dataclass(slots=True)
class Inputs:
    """All inputs of a command, in order, opened one after the other."""

    # Paths, patterns like `*.csv`, addresses, and `-` for standard input; none if `sql` queries local files.
    names: Sequence[str]
    folder: Path  # a work folder, where pipes are copied and compressed files are unpacked
    format: str | None = None  # one of FORMATS, or None: the content and the name of each file decide
    table: str | None = None  # the table to read from SQLite databases, or the sheet of workbooks
    sql: str | None = None  # a query for each SQLite database, or for local files if there are no names
    _opened: dict[int, Source] = field(default_factory=dict, init=False)  # by index in `names`

    def __post_init__(self) -> None:
        """Raise UsageError if the options do not fit together, InputError if a pattern matches nothing."""
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"--format {self.format} is not known", hint=f"the formats are {', '.join(FORMATS)}")
        if self.table is not None and self.sql is not None:
            raise UsageError("--table and --sql cannot be used together", hint="choose one")
        if self.format is not None and not self.names:
            raise UsageError("--format is for files, and --sql without one queries files itself", hint="leave it out")
        self.names = globbed(self.names)

    @property
    def name(self) -> str:
        """The name of all inputs together, for messages."""
        if not self.names:
            return "the query"
        return self.names[0] if len(self.names) == 1 else f"{len(self.names):,} files"

    def requests(self) -> Source | None:
        """Return the input as one source if it is a ready batch file or several of them; else None.

        Raises UsageError for a mixture of ready batch files and tables.
        """
        if self.sql is not None or self.table is not None or self.format is not None:
            return None
        # Some files may be empty, such as shards. They do not show what kind the others are.
        first = next((number for number in range(len(self.names)) if not _is_empty(self._open(number))), None)
        if first is None or kind_of(self._open(first)) != REQUESTS:
            return None
        return self._open(0) if len(self.names) == 1 else join(self._ready(self._open(first)), self.folder)

    def _ready(self, first: Source) -> Iterator[Source]:
        for number in range(len(self.names)):
            source = self._open(number)
            if not _is_empty(source) and source is not first and _is_table(source):
                raise _mixed(source, first)
            yield source
            self._close(number)

    def tables(self) -> Iterator[Table]:
        """Yield the tables. The caller must read each one before it takes the next.

        Raises InputError if one cannot be read, UsageError for options that do not fit.
        """
        if not self.names:
            from .sql import query_rows, with_copies

            if self.sql is None:
                raise UsageError("there is nothing to read", hint="name a file, or - for standard input")
            query = with_copies(self.sql, self._work_folder(0))
            with closing(query_rows(query, self._work_folder(0))) as rows:
                yield Table("--sql", "sql", rows, None)
        if self.names and all(_is_empty(self._open(number)) for number in range(len(self.names))):
            what = "the file is empty" if len(self.names) == 1 else "all files are empty"
            raise InputError(f"{self._open(0).name}: {what}", hint="write one prompt per line, or a table")
        for number, name in enumerate(self.names):
            yield from self._table(self._open(number), name, self._work_folder(number))
            self._close(number)

    def _table(self, source: Source, name: str, folder: Path) -> Iterator[Table]:
        kind = self.format or kind_of(source)
        origin = Path(name).expanduser().absolute() if name != "-" and not is_address(name) else None
        if kind == REQUESTS:
            if name != self.names[0]:
                raise _mixed(self._open(0), source)
            raise UsageError(
                f"{source.name} is a batch file, whose requests are sent as they are",
                hint=f"`obatch submit {as_word(source.name)}`; or --format jsonl to read them as a table",
            )
        if (self.table is not None and kind not in ("sqlite", "xlsx")) or (self.sql is not None and kind != "sqlite"):
            what = "--table" if self.table is not None else "--sql with a file"
            kinds = "SQLite databases and workbooks" if self.table is not None else "SQLite databases"
            raise UsageError(
                f"{what} is for {kinds}, and {source.name} is not one",
                hint="to query other files, name them in the query: --sql \"SELECT … FROM 'x.parquet'\"",
            )
        if kind in ("parquet", "sqlite", "xlsx"):
            from . import sql

            if kind == "parquet":
                opened = sql.parquet_rows(source.path, source.name, folder)
            elif kind == "sqlite":
                opened = sql.sqlite_rows(source.path, source.name, self.table, self.sql)
            else:
                opened = workbook_rows(source.path, source.name, self.table)
            with closing(opened) as rows:
                yield Table(source.name, kind, rows, origin)
            return
        with source.path.open("rb") as stream:
            if kind == "jsonl":
                yield Table(source.name, kind, jsonl_rows(stream), origin)
            elif kind in ("csv", "tsv"):
                yield Table(source.name, kind, csv_rows(stream, "\t" if kind == "tsv" else ","), origin)
            else:
                yield Table(source.name, kind, Prompts(stream), origin)

    def _work_folder(self, number: int) -> Path:
        folder = self.folder / f"input-{number}"
        folder.mkdir(exist_ok=True)
        return folder

    def _open(self, number: int) -> Source:
        """Return an input. It is opened only once, since a pipe cannot be read twice."""
        if number not in self._opened:
            documents = self.format in (None, "jsonl")
            self._opened[number] = open_source(self.names[number], self._work_folder(number), documents=documents)
        return self._opened[number]

    def _close(self, number: int) -> None:
        shutil.rmtree(self._work_folder(number), ignore_errors=True)


def kind_of(source: Source) -> str:
    """Return what a file is: one of FORMATS, or REQUESTS.

    Raises UsageError for a table in a file whose name says that it has prompts, InputError for a binary file.
    """
    with source.path.open("rb") as handle:
        head = handle.read(SNIFF)
    for mark, kind in _MAGIC:
        if head.startswith(mark):
            return kind
    if is_workbook(source.path, head):
        return "xlsx"
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.lstrip().startswith(b"{") and (first := _first_line(source)) is not None:
        return REQUESTS if _is_request(first) else "jsonl"
    suffixes = [suffix for suffix in Path(source.name.lower()).suffixes if suffix not in (".gz", ".zst", ".zstd")]
    if suffixes[-1:] == [".txt"]:
        suffixes.pop()
        found = _SUFFIXES.get(suffixes[-1]) if suffixes else None  # such as `reviews.csv.txt`
        if found is None and (found := _table_like(head)) is not None:
            raise UsageError(
                f"{source.name} looks like a table, but a .txt file has prompts",
                hint=f"say which one it is: --format {found} or --format txt",
            )
        return found or "txt"
    known = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if known == "jsonl" and head.strip() and not _OBJECT_OR_ARRAY.search(head) and other_kind(head) is None:
        form = _table_like(head) or "txt"
        what = "prompts" if form == "txt" else "a table"
        raise UsageError(f"{source.name} has no JSON objects", hint=f"if it has {what}, add --format {form}")
    found = known or _table_like(head)
    if found is None and b"\0" in head and other_kind(head) is None:
        raise InputError(f"{source.name}: it is not text", hint="name a file of prompts, a table, or a batch file")
    return found or "txt"


def _is_request(line: AnyRequest) -> bool:
    """Return whether a line is a request; some fields may be missing.

    A table of web pages may have the columns `url` and `body` too, but its bodies are not objects.
    """
    others = (line.custom_id, line.method, line.url)
    known = sum(value is not msgspec.UNSET for value in others)
    return known == len(others) or (known > 0 and isinstance(line.body, dict))


def _first_line(source: Source) -> AnyRequest | None:
    """Return the first line that is not blank; None if it is not a JSON object."""
    with source.path.open("rb") as handle:
        for number, _, raw in lines(handle):
            if isinstance(raw, int):
                return None
            if line := (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip():
                try:
                    return decode_any(line)
                except (msgspec.MsgspecError, UnicodeError, RecursionError):
                    return None
    return None


def _is_empty(source: Source) -> bool:
    return source.path.stat().st_size == 0


def _is_table(source: Source) -> bool:
    """Distinguish a table from a damaged batch file. The check reports the damaged lines of a batch file."""
    kind = kind_of(source)
    return kind != REQUESTS and (kind != "jsonl" or _first_line(source) is not None)


def _mixed(table: Source, ready: Source) -> UsageError:
    return UsageError(
        f"{table.name} is not a batch file, but {ready.name} is; a job takes one kind of input",
        hint=f"run them separately, or make requests first: `obatch prepare {as_word(table.name)} -o more.jsonl`",
    )


def _table_like(head: bytes) -> str | None:
    """Return tsv or csv if the first lines are a header of two names or more and rows of that length, else None."""
    text = head.decode("utf-8", "replace")
    whole = text if len(text) < SNIFF // 4 else text[: text.rfind("\n") + 1]
    lines = whole.split("\n")[:50]
    delimiter = delimiter_of(lines[0])
    try:
        header, *records = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except (csv.Error, ValueError):
        return None
    # The last record may be incomplete, since its cell may continue after these lines.
    even = all(len(row) == len(header) for row in records[: max(1, len(records) - 1)])
    is_table = (
        len(header) > 1 and len(set(header)) == len(header) and records and even and all(map(_NAME.fullmatch, header))
    )
    return ("tsv" if delimiter == "\t" else "csv") if is_table else None
