"""A part of a file that can be read like a file of its own, so that it can be uploaded without a copy."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable


class FileSlice(io.BufferedIOBase):
    """Bytes `offset` to `offset + length` of a seekable file.

    `progress` is called with the number of bytes read so far. `sha256` is the hash of the bytes that were read, to
    compare them with those that should have been uploaded.
    """

    def __init__(
        self,
        source: BinaryIO,
        offset: int = 0,
        length: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        end = source.seek(0, os.SEEK_END)
        self._source = source
        self._offset = offset
        self._length = max(0, end - offset) if length is None else length
        self._position = 0
        self._progress = progress
        self._hash = hashlib.sha256()
        self._hashed = 0

    @property
    def sha256(self) -> str | None:
        """The hash, in hexadecimal digits, after the whole slice was read in order; None before."""
        return self._hash.hexdigest() if self._hashed == self._length else None

    @property
    def was_read(self) -> bool:
        """Whether any of it was read, also if it starts again from the beginning."""
        return self._hashed > 0

    def __len__(self) -> int:
        """Return the length in bytes."""
        return self._length

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: a request that is sent again starts at the beginning."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the slice."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = min(max(0, base + offset), self._length)
        return self._position

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes of what is left."""
        left = self._length - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        self._source.seek(self._offset + self._position)
        data = self._source.read(wanted)
        if self._position == 0:
            self._hash, self._hashed = hashlib.sha256(), 0
        if self._position == self._hashed:
            self._hash.update(data)
            self._hashed += len(data)
        self._position += len(data)
        if data and self._progress is not None:
            self._progress(self._position)
        return data

    def close(self) -> None:
        """Do nothing: the source is closed by the code that opened it."""
