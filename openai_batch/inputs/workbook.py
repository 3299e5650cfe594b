"""Rows of Excel and OpenDocument workbooks (.xlsx, .xlsb, .xls, .ods), read by calamine, an extra."""

from __future__ import annotations

import json
import lzma
import pickle
import subprocess
import sys
import threading
import zipfile
import zlib
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

from openai_batch.errors import InputError, MissingExtraError
from openai_batch.files.lines import LINE_VARIABLE, max_line_bytes

from .readers import header_problem, problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .readers import RowGenerator

_OLE = b"\xd0\xcf\x11\xe0"
_SHEETS = ("xl/workbook.xml", "xl/workbook.bin")
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument.spreadsheet"

MAX_MEMORY = 4_000_000_000
"""Bytes of memory that reading a workbook may take: a few bytes on the disk can be any number of cells."""

MAX_SECONDS = 300  # processor time that reading a workbook may take

_LOOK_SECONDS = 0.05


def is_workbook(path: Path, head: bytes) -> bool:
    """Return whether a file that begins with `head` is a workbook."""
    if head.startswith(_OLE):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "mimetype" not in names:
                return any(name in names for name in _SHEETS)
            with archive.open("mimetype") as kind:
                return kind.read(len(_OPEN_DOCUMENT)) == _OPEN_DOCUMENT
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError):
        return False


def workbook_rows(path: Path, name: str, sheet: str | None) -> RowGenerator:
    """Yield the rows below the header of a sheet, or of the only sheet; the place of a row is its number in the sheet.

    Blank rows are skipped. Raises InputError if it is not a workbook or has no such sheet, MissingExtraError without
    calamine.
    """
    header: list[str] = []
    for place, cells in enumerate(_cells(path, name, sheet), 1):
        if isinstance(cells, int):
            remedy = f"a row can have at most {max_line_bytes():,}; {LINE_VARIABLE} changes that"
            yield place, problem(place, f"the row has {cells:,} characters", remedy)
            continue
        values = [_plain(cell) for cell in cells]
        if all(value == "" for value in values):
            continue
        if not header:
            while values and values[-1] == "":
                values.pop()
            header = [str(value) for value in values]
            if (wrong := header_problem(place, header)) is not None:
                yield place, wrong
                return
        elif any(value != "" for value in values[len(header) :]):
            message = f"the row has more cells than the header, which has {len(header):,}"
            yield place, problem(place, message, "give each column a name in the header")
        else:
            yield place, dict(zip(header, values, strict=False))


def _cells(path: Path, name: str, sheet: str | None) -> Iterator[list[Any] | int]:
    """Yield the rows of a sheet from its first one: the cells, or the number of characters if those are too many."""
    if find_spec("python_calamine") is None or find_spec("psutil") is None:
        raise MissingExtraError(
            f"{name} is a workbook, and python-calamine and psutil, which read these, are not installed",
            hint="python -m pip install 'openai-batch[tables]', or save it as CSV (UTF-8)",
        )
    with _reader(path, sheet) as reader:
        _check_sheet(_next(reader, name), sheet, name)
        while (row := _next(reader, name)) is not None:
            yield row


@contextmanager
def _reader(path: Path, sheet: str | None) -> Iterator[IO[bytes]]:
    """Start the process that reads a sheet. It is stopped at the end of the block, or if it exceeds its limits."""
    import psutil

    wanted = json.dumps([str(path), sheet, max_line_bytes()])
    command = [sys.executable, "-P", "-m", f"{__package__}.sheet_process", wanted]
    process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    over = threading.Event()

    def watch() -> None:
        with suppress(psutil.Error):
            while not over.wait(_LOOK_SECONDS):
                if process.memory_info().rss > MAX_MEMORY or sum(process.cpu_times()[:2]) > MAX_SECONDS:
                    process.kill()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield process.stdout
    finally:
        over.set()
        watcher.join()
        process.kill()
        process.wait()
        process.stdout.close()


def _next(stream: IO[bytes], name: str) -> Any:
    """Return the next item from the process. Raises InputError if it has failed."""
    try:
        said = pickle.load(stream)  # noqa: S301 - from our own process, of plain values only
    except (EOFError, pickle.UnpicklingError):
        what = f"takes more than {MAX_MEMORY:,} bytes of memory or {MAX_SECONDS} seconds to read, or is damaged"
        hint = "save the part of it that you need as CSV (UTF-8)"
        raise InputError(f"{name}: the workbook {what}", hint=hint) from None
    if isinstance(said, str):
        hint = "open it in a spreadsheet program and save it as CSV (UTF-8)"
        raise InputError(f"{name}: the workbook cannot be read: {said}", hint=hint)
    return said


def _check_sheet(known: list[str], wanted: str | None, name: str) -> None:
    """Raise InputError unless the workbook has this sheet, or only one."""
    if wanted is None and len(known) > 1:
        raise InputError(f"{name}: say which sheet to read", hint=f"--table NAME; its sheets: {', '.join(known)}")
    if wanted is not None and wanted not in known:
        raise InputError(f"{name}: there is no sheet {wanted!r}", hint=f"its sheets: {', '.join(known)}")


def _plain(cell: Any) -> Any:
    """Return the value of a cell; a whole number, which a workbook keeps as a float, as an integer."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
