"""Recognise files of other kinds by their first bytes."""

from __future__ import annotations

_EXPORT = "write it as JSON lines or Parquet"
_IMAGE = "list the images in a table, and use --image COLUMN"

# (First bytes, what the file is, what to do.) UTF-32 must come before UTF-16, since its mark begins in the same way.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe\0\0", "UTF-32", "save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32", "save it as UTF-8"),
    (b"\xff\xfe", "UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16", "save it as UTF-8"),
    (b"{\0", "UTF-16", "save it as UTF-8"),
    (b"\0{", "UTF-16", "save it as UTF-8"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"BZh", "compressed with bzip2", "unpack it first, or pipe it: bzip2 -dc FILE | obatch … -"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it first, or pipe it: xz -dc FILE | obatch … -"),
    (b"PAR1", "a Parquet table", "`obatch run` and `prepare` read it"),
    (b"SQLite format 3\0", "a SQLite database", "`obatch run` and `prepare` read it"),
    (b"%PDF", "a PDF document", "extract its text first, and write one prompt per line or a table"),
    (b"\xd0\xcf\x11\xe0", "an old Office document, such as an .xls workbook", "save it as .xlsx or CSV (UTF-8)"),
    (b"\x80\x02", "a Python pickle", _EXPORT),
    (b"\x80\x03", "a Python pickle", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x80\x05", "a Python pickle", _EXPORT),
    (b"ARROW1", "an Arrow table", _EXPORT),
    (b"FEA1", "a Feather table", _EXPORT),
    (b"ORC", "an ORC table", _EXPORT),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"\x89HDF", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"\x89PNG", "an image", _IMAGE),
    (b"\xff\xd8\xff", "an image", _IMAGE),
)
_ZIP = b"PK\x03\x04"
_OFFICE = (b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/")  # the first name in such an archive
_ZIP_NAME = 30  # where that name begins


def other_kind(head: bytes) -> tuple[str, str] | None:
    """Return (what the file is, what to do) if `head` is the start of a file of another kind, else None."""
    if head.startswith(_ZIP):
        if head[_ZIP_NAME:].startswith(_OFFICE):
            return "an Office document, such as an Excel workbook", "save it as CSV (UTF-8)"
        return "a ZIP archive", "unpack it first"
    if head[8:12] == b"DUCK":
        return "a DuckDB database", "export a table: COPY name TO 'name.parquet'"
    return next(((what, remedy) for mark, what, remedy in _BEGINNINGS if head.startswith(mark)), None)
