"""The shared store: named objects in a folder or a bucket. An object appears complete, or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from openai_batch.errors import BatchError, NotFoundError, OutputExistsError, UnreachableError, UsageError
from openai_batch.files.atomic import part_file, publish
from openai_batch.files.locks import WINDOWS
from openai_batch.files.object_store import ObjectInfo, ObjectStore
from openai_batch.files.private import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 20

_SHOWN = "obatch-store"
"""The file that shows that a folder is a store."""


class FolderStore:
    """A folder that all workers can reach, such as one on a network file system."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the folder, with a file that shows that it is there. Raises BatchError.

        Workers never do this: a store that is gone stays gone.
        """
        with _writable(self._root):
            make_private(self._root)
            (self._root / _SHOWN).touch(mode=0o600)

    def create(self, key: str, data: bytes) -> bool:
        """Write a new object; return False if there is one of that name, which stays as it is."""
        if self.find(key) is not None:
            return False
        try:
            self._publish(self._path(key), iter([data]), replace=False)
        except OutputExistsError:
            return False
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, new or not."""
        self._publish(self._path(key), iter([data]), replace=True)

    def write(self, key: str, blocks: Iterator[bytes]) -> None:
        """Write a large new object."""
        self._publish(self._path(key), blocks, replace=True)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object; None if there is none."""
        with _readable(key), contextlib.suppress(FileNotFoundError):
            status = self._path(key).stat()
            return ObjectInfo(key, status.st_size, "", status.st_mtime)
        self._check()
        return None

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of an object from `start` to before `end`. Raises NotFoundError."""
        with _readable(key), self._opened(key) as file:
            file.seek(start)
            return file.read(-1 if end is None else end - start)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in blocks. Raises NotFoundError."""
        with _readable(key), self._opened(key) as file:
            while block := file.read(_BLOCK):
                yield block

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """Yield all objects below a folder, in any order."""
        with _readable(folder), contextlib.ExitStack() as stack:
            try:
                entries = list(stack.enter_context(os.scandir(self._path(folder))))
            except FileNotFoundError:
                self._check()
                return
            for entry in entries:
                key = f"{folder}/{entry.name}"
                if entry.is_dir():
                    yield from self.list(key)
                elif not entry.name.startswith("."):  # those are being written
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        yield ObjectInfo(key, status.st_size, "", status.st_mtime)

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with _readable(key):
            self._path(key).unlink(missing_ok=True)

    def path(self, key: str) -> Path | None:
        """Return where an object is as a file that can be appended to; its folder is made if it does not exist."""
        path = self._path(key)
        self._make_folder(path)
        return path

    def _path(self, key: str) -> Path:
        return self._root / key

    def _make_folder(self, path: Path) -> None:
        """Make the folder of a file. It is made from an open folder, so never in the place of a store that is gone."""
        if WINDOWS:  # it cannot open folders
            self._check()
            make_private(path.parent)
            return
        with _writable(path):
            try:
                root = os.open(self._root, os.O_RDONLY)
            except FileNotFoundError:
                raise self._gone() from None
            try:
                os.stat(_SHOWN, dir_fd=root)
                folder = ""
                for name in path.parent.relative_to(self._root).parts:
                    folder = os.path.join(folder, name)  # noqa: PTH118 - a name below an open folder
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, 0o700, dir_fd=root)
            except FileNotFoundError:
                raise self._gone() from None
            finally:
                os.close(root)

    def _publish(self, path: Path, blocks: Iterator[bytes], *, replace: bool) -> None:
        self._make_folder(path)
        with _writable(path), part_file(path, make_folder=False) as (handle, part):
            handle.writelines(blocks)
            publish(handle, part, path, replace=replace, private=True)

    def _opened(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except FileNotFoundError:
            self._check()
            raise NotFoundError(f"{key} is not in the store") from None

    def _check(self) -> None:
        """Raise BatchError if the store is not there: what is in its place says nothing, and stays as it is."""
        if not (self._root / _SHOWN).is_file():
            raise self._gone()

    def _gone(self) -> UnreachableError:
        return UnreachableError(f"the store {self._root} is not there", hint="is the file system mounted?")


class BucketStore(ObjectStore):
    """Objects below one address of an object store."""

    def prepare(self) -> None:
        """Check that objects can be written. A bucket is made with the tools of its provider."""
        self.check_writable("clock")

    def write(self, key: str, blocks: Iterator[bytes]) -> None:
        """Write a large new object."""
        with self.writer(key, replace=True) as out:
            for block in blocks:
                out.write(block)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object; None if there is none."""
        return self.stat(key)

    def path(self, key: str) -> None:  # noqa: ARG002 - there are no files
        """Return None: nothing can be appended to an object."""
        return


SharedStore: TypeAlias = FolderStore | BucketStore
"""What a batch needs of a store. All calls may be repeated. They raise BatchError if the store fails."""


def open_store(place: str) -> SharedStore:
    """Return the store at a folder or an address. Raises UsageError for a relative path, and BatchError."""
    if "://" in place:
        return BucketStore(place)
    root = Path(place).expanduser()
    if not root.is_absolute():
        raise UsageError(f"the store {place} is a relative path", hint="give the path that all workers have")
    return FolderStore(root)


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Turn an error of the file system, also a translated one, into one that may pass."""
    try:
        yield
    except (OSError, BatchError) as exc:
        cause = exc.__cause__ if type(exc) is BatchError else exc
        if not isinstance(cause, OSError):
            raise
        hint = "check the disk of the store, and its permissions"
        raise UnreachableError(f"the store cannot be written: {path}: {cause.strerror}", hint=hint) from exc


@contextlib.contextmanager
def _readable(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        hint = "check the store and its permissions"
        raise UnreachableError(f"the store cannot be used: {key}: {exc.strerror}", hint=hint) from exc
