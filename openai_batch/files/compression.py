"""Unpack gzip and zstd files of any number of members, with constant memory and a limit for the unpacked size."""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from openai_batch.errors import InputError

from .workspace import not_written

if TYPE_CHECKING:
    from pathlib import Path

MAX_EXPANDED = 64 * 1024**3
"""The most bytes that a compressed input may have when unpacked: hundreds of the largest batch files."""

_CHUNK = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, by its first bytes."""
    with path.open("rb") as handle:
        return handle.read(4).startswith((_GZIP, _ZSTD))


def expand(path: Path, name: str, target: Path, *, limit: int = MAX_EXPANDED) -> None:
    """Unpack `path` into `target`; `name` is its name in messages.

    Raises InputError if it is damaged or cut short, if it has more than `limit` bytes when unpacked, or if the disk is
    full.
    """
    size = 0
    with path.open("rb") as packed, _reader(packed) as plain, target.open("wb") as out:
        try:
            while chunk := plain.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise InputError(f"{name}: it has more than {limit:,} bytes when unpacked", hint="split the input")
                out.write(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile, _zstd().ZstdError) as exc:
            raise InputError(
                f"{name}: the compressed file is damaged or cut short ({exc})", hint="create the file again"
            ) from None
        except OSError as exc:
            raise not_written(name, "unpacked", exc) from exc


def _reader(packed: BinaryIO) -> Any:
    mark = packed.read(2)
    packed.seek(0)
    return gzip.GzipFile(fileobj=packed) if mark == _GZIP else _zstd().ZstdFile(packed)


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
