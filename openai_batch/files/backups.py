"""Rename a file to a free name, so that nothing is ever overwritten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def move_to_backup(path: Path) -> Path | None:
    """Rename `path` to `NAME.1`, or the next number that is free, and return the new path.

    Return None if there is no file any more, since another process has moved it. Raises OSError.
    """
    number = 1
    while True:
        backup = path.with_name(f"{path.name}.{number}")
        try:
            # Making the file first keeps two processes from taking the same number.
            os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
            continue
        try:
            return path.replace(backup)
        except OSError as exc:
            backup.unlink()
            if isinstance(exc, FileNotFoundError):
                return None
            raise
