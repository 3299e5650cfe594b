"""Rows of Excel and OpenDocument workbooks (.xlsx, .xlsb, .xls, .ods), read by calamine, an extra."""

from __future__ import annotations

import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from openai_batch.errors import InputError, MissingExtraError

from .readers import header_problem, problem

if TYPE_CHECKING:
    from pathlib import Path

    from .readers import Rows

_OLE = b"\xd0\xcf\x11\xe0"
_SHEETS = ("xl/workbook.xml", "xl/workbook.bin")
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument.spreadsheet"

MAX_UNPACKED = 1_000_000_000
"""Bytes that a workbook may have when unpacked. Its sheet is held in memory, and it is compressed a thousandfold."""

MAX_CELLS = 50_000_000
"""Cells from the first one of a sheet to the last one, empty ones too: each of them takes memory."""

_CHUNK = 1 << 20
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,3})(\d{1,9})""")
_LONGEST_PLACE = 100


def is_workbook(path: Path, head: bytes) -> bool:
    """Tell whether a file that begins with `head` is a workbook."""
    if head.startswith(_OLE):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return any(name in names for name in _SHEETS) or (
                "mimetype" in names and archive.read("mimetype").startswith(_OPEN_DOCUMENT)
            )
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return False


def workbook_rows(path: Path, name: str, sheet: str | None) -> Rows:
    """Yield the rows below the header of a sheet, or of the only sheet; the place of a row is its number in the sheet.

    Blank rows are skipped. Raises InputError if it is not a workbook or has no such sheet, MissingExtraError without
    calamine.
    """
    header: list[str] = []
    for place, cells in enumerate(_cells(path, name, sheet), 1):
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


def _cells(path: Path, name: str, sheet: str | None) -> Any:
    """Return the rows of a sheet, each a list of cells, from the first row of the sheet."""
    try:
        import python_calamine
    except ImportError:
        raise MissingExtraError(
            f"{name} is a workbook, and python-calamine, which reads these, is not installed",
            hint="python -m pip install 'openai-batch[tables]', or save it as CSV (UTF-8)",
        ) from None
    _check_size(path, name)
    try:
        book = python_calamine.load_workbook(str(path))
        return book.get_sheet_by_name(_sheet(book.sheet_names, sheet, name)).to_python(skip_empty_area=False)
    except (python_calamine.CalamineError, zipfile.BadZipFile, OSError, ValueError) as exc:
        if isinstance(exc, InputError):
            raise
        hint = "open it in a spreadsheet program and save it as CSV (UTF-8)"
        raise InputError(f"{name}: the workbook cannot be read: {exc}", hint=hint) from None


def _check_size(path: Path, name: str) -> None:
    """Raise InputError if a workbook, which may come from anybody, would fill the memory."""
    if not zipfile.is_zipfile(path):  # an .xls file, which is not compressed
        return
    hint = "save the part of it that you need as CSV (UTF-8)"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > MAX_UNPACKED:
                raise InputError(f"{name}: it has more than {MAX_UNPACKED:,} bytes when unpacked", hint=hint)
            for each in archive.namelist():
                if _extent(archive, each) > MAX_CELLS:
                    raise InputError(f"{name}: it has a sheet with more than {MAX_CELLS:,} cells", hint=hint)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise InputError(f"{name}: the workbook cannot be read: {exc}", hint=hint) from None


def _extent(archive: zipfile.ZipFile, member: str) -> int:
    """Return how many cells a sheet in .xlsx has up to the last row and the last column that it names."""
    rows, columns, before = 0, b"", b""
    with archive.open(member) as content:
        while chunk := content.read(_CHUNK):
            found = _PLACE.findall(before + chunk)
            rows = max(rows, *(int(row) for _, row in found), 0)
            columns = max((columns, *{letters.upper() for letters, _ in found}), key=lambda each: (len(each), each))
            before = chunk[-_LONGEST_PLACE:]
    width = 0
    for letter in columns:
        width = width * 26 + letter - ord("A") + 1
    return rows * width


def _sheet(known: list[str], wanted: str | None, name: str) -> str:
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        raise InputError(f"{name}: say which sheet to read", hint=f"--table NAME; its sheets: {', '.join(known)}")
    if wanted not in known:
        raise InputError(f"{name}: there is no sheet {wanted!r}", hint=f"its sheets: {', '.join(known)}")
    return wanted


def _plain(cell: Any) -> Any:
    """Return the value of a cell; a whole number, which a workbook keeps as a float, as an integer."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
