"""A workbook that needs too much memory or time is refused."""

from __future__ import annotations

import struct
import time
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.sample_tables import cells, spreadsheet

from openai_batch.errors import InputError
from openai_batch.inputs import workbook
from openai_batch.inputs.workbook import is_workbook, workbook_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("python_calamine")

_OFFICE = "http://schemas.openxmlformats.org"
_RELATED = f"{_OFFICE}/officeDocument/2006/relationships"
_BOOK = "xl/workbook.xml"
PARTS = {
    "_rels/.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
    f'<Relationship Id="a" Type="{_RELATED}/officeDocument" Target="{_BOOK}"/></Relationships>',
    _BOOK: f'<workbook xmlns="{_OFFICE}/spreadsheetml/2006/main" xmlns:r="{_RELATED}">'
    '<sheets><sheet name="s" sheetId="1" r:id="a"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
    f'<Relationship Id="a" Type="{_RELATED}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def write(path: Path, *cells: str, spaces: int = 0) -> Path:
    """Write a workbook with a text in each of these cells."""
    texts = "".join(f"<row><c {place} t='inlineStr'><is><t>{place[-3:-1]}</t></is></c></row>" for place in cells)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in PARTS.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as out:
            out.write(f'<worksheet xmlns="{_OFFICE}/spreadsheetml/2006/main"><sheetData>{texts}'.encode())
            for _ in range(spaces // 10_000_000):
                out.write(b" " * 10_000_000)
            out.write(b"</sheetData></worksheet>")
    return path


def binary(path: Path, *places: tuple[int, int]) -> Path:
    """Write an .xls workbook with a number at each of these places: a compound file with one stream."""

    def records(*given: tuple[int, bytes]) -> bytes:
        return b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in (*given, (0x0A, b"")))

    numbers = [(0x203, struct.pack("<HHHd", row, column, 0, 1.5)) for row, column in places]
    sheet = records((0x809, struct.pack("<HHQQ", 0x600, 0x10, 0, 0)[:16]), *numbers)
    book = records((0x809, struct.pack("<HHQQ", 0x600, 5, 0, 0)[:16]), (0x85, struct.pack("<IHH", 3584, 0, 1) + b"s"))
    book = book.ljust(3584, b"\0") + sheet.ljust(512, b"\0")

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        text = f"{name}\0".encode("utf-16-le")
        links = struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
        return text.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)

    folder = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry("Workbook", 2, 0xFFFFFFFF, 2, len(book)) + bytes(256)
    sectors = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 10), 0xFFFFFFFE]
    table = struct.pack("<128I", *sectors, *[0xFFFFFFFF] * (128 - len(sectors)))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    head += struct.pack("<IIIIIIII", 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    path.write_bytes(head + table + folder + book)
    return path


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the memory limit so that the test needs less memory, and raise the time limit."""
    monkeypatch.setattr(workbook, "MAX_MEMORY", 300_000_000)
    monkeypatch.setattr(workbook, "MAX_SECONDS", 20)


BOMBS: dict[str, Callable[[Path], Path]] = {
    "a cell far away": lambda path: write(path / "t.xlsx", 'r="A1"', 'r="XFD1048576"'),
    "a cell far away in a binary one": lambda path: binary(path / "t.xls", (0, 0), (65_535, 65_535)),
    "a repeated cell": lambda path: spreadsheet(path / "t.ods", cells("x"), cells("y", 16_000, 6_000)),
    "more repeats than cells": lambda path: spreadsheet(path / "t.ods", cells("x"), cells("y", 16_384, 1_048_576)),
    "a repeated long text": lambda path: spreadsheet(path / "t.ods", cells("x"), cells("y" * 1_000_000, 16_000)),
}


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_workbook_that_needs_too_much_memory_is_refused(tmp_path: Path, bomb: Callable[[Path], Path]) -> None:
    """A file of a few kilobytes with billions of cells or gigabytes of text is refused."""
    path = bomb(tmp_path)
    assert path.stat().st_size < 20_000
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"300,000,000 bytes of memory|Cell limit exceeded") as caught:
        list(workbook_rows(path, path.name, None))
    assert "CSV" in caught.value.hint
    assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_a_slow_workbook_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of about a megabyte that unpacks to a gigabyte without cells is refused."""
    monkeypatch.setattr(workbook, "MAX_SECONDS", 0.3)
    path = write(tmp_path / "t.xlsx", 'r="A1"', spaces=1_000_000_000)
    with pytest.raises(InputError, match=r"or 0.3 seconds"):
        list(workbook_rows(path, "t.xlsx", None))


def test_a_row_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    """A row that is too long is an error, and the rows after it are read."""
    path = spreadsheet(tmp_path / "t.ods", cells("x"), cells("y" * 1_000_000, 20), cells("z"))
    (_, wrong), (place, _) = workbook_rows(path, "t.ods", None)
    assert "20,000,000 characters" in str(wrong)
    assert place == 3


@pytest.mark.parametrize("content", [b"\xff" * 50, b""], ids=["no data", "nothing"])
def test_a_damaged_archive_is_refused_as_a_workbook(tmp_path: Path, content: bytes) -> None:
    """An archive is a workbook only if its type can be read."""
    path = spreadsheet(tmp_path / "t.ods", cells("x"))
    raw = path.read_bytes()
    path.write_bytes(raw[:38] + content + raw[38 + len(content) :])
    assert is_workbook(path, raw[:100]) is (not content)


def test_workbooks_within_the_limits_are_read(tmp_path: Path) -> None:
    """Workbooks with a distant row or column but little content are read."""
    for place in ('r="A2"', 'r="A90000"', 'r="XFD9"'):
        rows = list(workbook_rows(write(tmp_path / "t.xlsx", 'r="A1"', place), "t.xlsx", None))
        assert len(rows) == 1
