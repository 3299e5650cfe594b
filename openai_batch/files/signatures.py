"""Recognise files of other kinds by their first bytes."""

from __future__ import annotations

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
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"PAR1", "a Parquet table", "export it as JSON lines"),
    (b"%PDF", "a PDF document", "write one JSON object per line"),
)


def other_kind(head: bytes) -> tuple[str, str] | None:
    """Return (what the file is, what to do) if `head` is the start of a file of another kind, else None."""
    return next(((what, remedy) for mark, what, remedy in _BEGINNINGS if head.startswith(mark)), None)
