"""The results of a batch that still runs: every line that is finished, as far as the batch has come."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from .publish import all_rows
from .store import ACTIVE, PENDING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .store import BatchRecord, Store

_PIECE = 1 << 18


def finished_lines(store: Store, batch: BatchRecord, files: Path, journal: Path) -> Iterator[bytes]:
    """Yield whole result lines, of successes and of errors: those so far, in the order of the input.

    Of a batch that has ended, yield the content of its output file, and then that of its error file.
    """
    if batch.status in ACTIVE:
        yield from _lines_of_journal(store, batch, journal)
        return
    for name in (batch.output_file_id, batch.error_file_id):
        with suppress(FileNotFoundError):
            if name is not None:
                with (files / name).open("rb") as stream:
                    while piece := stream.read(_PIECE):
                        yield piece


def _lines_of_journal(store: Store, batch: BatchRecord, journal: Path) -> Iterator[bytes]:
    try:
        source = os.open(journal, os.O_RDONLY)
    except FileNotFoundError:  # no request has been run yet
        return
    lines = bytearray()
    try:
        for row in all_rows(store, batch.seq):
            if row.state != PENDING:
                lines += os.pread(source, row.answer_length or 0, row.answer_start or 0)
            if len(lines) >= _PIECE:
                yield bytes(lines)
                lines.clear()
        yield bytes(lines)
    finally:
        os.close(source)
