"""A private folder for the work of one command."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError

from . import paths
from .locks import WINDOWS, clear_away, hold

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a private folder in the state directory for the duration of a command. Raises BatchError.

    It also removes the folders that killed commands left.
    """
    base = paths.private_dir(paths.state_dir() / "spool")
    clear_away(base.glob("work-*"))
    lock = None
    try:
        while lock is None:
            folder = Path(tempfile.mkdtemp(prefix="work-", dir=base))
            lock = hold(folder, folder=True)
    except OSError as exc:
        raise BatchError(
            f"cannot make a folder in {base}: {exc.strerror}", hint="check the free space and the permissions there"
        ) from exc
    try:
        yield folder
    finally:
        if WINDOWS:
            os.close(lock)  # a file that is open cannot be removed there
        shutil.rmtree(folder, ignore_errors=True)
        if not WINDOWS:
            os.close(lock)


def cannot_keep(folder: Path, exc: OSError) -> BatchError:
    """Return the error for an input that cannot be written to a work folder."""
    message = f"cannot keep the input in {folder}: {exc.strerror}"
    return BatchError(message, hint="check the free space and the permissions there")
