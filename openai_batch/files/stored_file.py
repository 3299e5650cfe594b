"""A file to write in an object store, named by its address, for code that writes to paths as well."""

from __future__ import annotations

import itertools
from pathlib import Path, PurePosixPath

from openai_batch.errors import OutputExistsError, UsageError

from .object_store import exists_already, is_stored, split_address


class StoredFile:
    """An object under a key, with those parts of the interface of `Path` that outputs need."""

    def __init__(self, address: str) -> None:
        """Open its store. Raises UsageError for an address of something else, and MissingExtraError."""
        if not is_stored(address):
            scheme = address.partition("://")[0]
            raise UsageError(
                f"{scheme}:// addresses can be read, but not written", hint="name a local file, or s3://, gs://, az://"
            )
        self._store, self._key = split_address(address)
        path = PurePosixPath(self._key)
        self.name, self.suffix, self.stem = path.name, path.suffix, path.stem

    def __str__(self) -> str:
        return self._store.address(self._key)

    def absolute(self) -> StoredFile:
        """Return itself."""
        return self

    def samefile(self, other: object) -> bool:
        """Return whether the other one has the same address."""
        return str(self) == str(other)

    def exists(self) -> bool:
        """Ask the store whether there is an object."""
        return bool(self.stamp())

    is_file = exists

    def stamp(self) -> str:
        """Return a text that changes with the content; it is empty if there is no object."""
        info = self._store.stat(self._key)
        return "" if info is None else f"{info.size} {info.etag or info.modified}"

    def check(self, *, force: bool) -> None:
        """Raise OutputExistsError if it exists and `force` is False, and other errors if it cannot be written."""
        if not force and self.exists():
            raise exists_already(str(self))
        self._store.check_writable(self._key)

    def publish(self, part: Path, *, replace: bool) -> None:
        """Store a complete local file in one step.

        Raises OutputExistsError if there is an object with other bytes and `replace` is False.
        """
        try:
            self._store.upload(self._key, part, replace=replace)
        except OutputExistsError:
            if not self.has(part):
                raise

    def has(self, part: Path) -> bool:
        """Return whether the object has the same bytes as a local file."""
        info = self._store.stat(self._key)
        if info is None or info.size != part.stat().st_size:
            return False
        with part.open("rb") as own:
            return all(own.read(len(piece)) == piece for piece in self._store.stream(self._key))

    def move_to_backup(self) -> StoredFile:
        """Give the object the key `KEY.1`, or the next number that is free, and return that one."""
        for number in itertools.count(1):
            key = f"{self._key}.{number}"
            if self._store.copy(self._key, key):
                self._store.delete(self._key)
                return StoredFile(self._store.address(key))
        raise AssertionError  # the numbers never end


Target = Path | StoredFile
"""Where a file is written."""
