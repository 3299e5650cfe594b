"""A workbook that would fill the memory is refused before it is read."""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import InputError
from openai_batch.inputs.workbook import MAX_UNPACKED, workbook_rows

if TYPE_CHECKING:
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


@pytest.mark.parametrize("far", ['r="XFD1048576"', "r = 'xfd1048576'", 'r="ZZ1048576"'])
def test_a_cell_far_away_is_refused_before_it_is_read(tmp_path: Path, far: str) -> None:
    """A kilobyte can stand for billions of empty cells."""
    path = write(tmp_path / "t.xlsx", 'r="A1"', far)
    assert path.stat().st_size < 2000
    begun = time.monotonic()
    with pytest.raises(InputError, match="more than 50,000,000 cells"):
        list(workbook_rows(path, "t.xlsx", None))
    assert time.monotonic() - begun < 5


def test_a_large_one_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A megabyte can become a gigabyte."""
    path = write(tmp_path / "t.xlsx", 'r="A1"', spaces=MAX_UNPACKED)
    with pytest.raises(InputError, match="more than 1,000,000,000 bytes when unpacked"):
        list(workbook_rows(path, "t.xlsx", None))


def test_others_are_read(tmp_path: Path) -> None:
    """A long sheet, and a wide one."""
    for place in ('r="A2"', 'r="A90000"', 'r="XFD9"'):
        rows = list(workbook_rows(write(tmp_path / "t.xlsx", 'r="A1"', place), "t.xlsx", None))
        assert len(rows) == 1
