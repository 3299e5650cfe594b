"""Fetch one of a provider's files: streamed, counted, synced, and under its name only when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ._files import part_file, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._api import BatchApi


def fetch_file(
    api: BatchApi,
    file_id: str,
    target: Path | BinaryIO,
    *,
    replace: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> int:
    """Download `file_id` to a path, or into an open file that can seek, and return the number of bytes.

    Raises DownloadError if what arrives is not the whole file, OutputExistsError if the path is taken and
    `replace` is False. Nothing stands under the path's name before the file is whole.
    """
    if not isinstance(target, Path):
        return api.download(file_id, target, progress)
    with part_file(target) as (handle, part):
        count = api.download(file_id, handle, progress)
        publish(handle, part, target, replace=replace)
    return count
