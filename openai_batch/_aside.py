"""Give a file its name without losing what stood there: other content is moved to `NAME.1`, never overwritten."""

from __future__ import annotations

import filecmp
import os
from typing import TYPE_CHECKING

from ._warn import warn

if TYPE_CHECKING:
    from pathlib import Path


def move_aside(path: Path) -> Path | None:
    """Rename `path` to `NAME.1`, or the next number that is free, and return the new path.

    None where nothing is at `path` any more: somebody has moved it meanwhile.
    """
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.{number}")
        try:
            # Claiming the name first keeps two processes from taking the same number.
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
            continue
        try:
            return path.replace(aside)
        except FileNotFoundError:
            aside.unlink()
            return None


def settle(path: Path, aside: Path | None) -> None:
    """Drop `aside` if `path` has come to hold the same bytes, else warn that it was moved; None was moved nowhere."""
    if aside is None:
        return
    if path.is_file() and filecmp.cmp(path, aside, shallow=False):
        aside.unlink()
    else:
        warn(f"{path} held something else, which is now {aside}")


def place(new: Path, path: Path) -> None:
    """Give the finished file `new`, in the same folder, the name `path`."""
    if path.is_file() and path.stat().st_size:
        if filecmp.cmp(new, path, shallow=False):
            new.unlink()
            return
        aside = move_aside(path)
        new.replace(path)
        settle(path, aside)
    else:
        new.replace(path)
