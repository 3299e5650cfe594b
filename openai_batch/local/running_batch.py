"""A batch in progress: its open files, and its rows that are still to be run."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING

from .running_requests import RunningRequests

if TYPE_CHECKING:
    from pathlib import Path

    from .store import BatchRecord, RowRecord, Store

_PAGE = 1000


class RunningBatch(RunningRequests):
    """Gives the pending rows of one batch to workers, and knows which of them wait before a call."""

    def __init__(self, batch: BatchRecord, store: Store, files: Path, journals: Path) -> None:
        super().__init__(batch.id, batch.endpoint, batch.expires_at)
        self.batch = batch
        self._store = store
        self.input = os.open(files / batch.input_file_id, os.O_RDONLY)
        self.journal = os.open(journals / batch.id, os.O_WRONLY | os.O_CREAT, 0o600)
        self.journal_end = store.journal_end(batch.seq)
        self.ended = asyncio.Event()
        self._busy = 0
        self._page: deque[RowRecord] = deque()
        self._cursor = 0
        self._exhausted = False
        self._refill = asyncio.Lock()

    def close(self) -> None:
        """Close the files."""
        os.close(self.input)
        os.close(self.journal)

    async def read(self) -> None:
        """Read more rows, if none of those that were read are left."""
        if not self._page and not self._exhausted:
            async with self._refill:
                if not self._page and not self._exhausted:
                    page = await asyncio.to_thread(
                        self._store.rows, self.batch.seq, after=self._cursor, limit=_PAGE, pending=True
                    )
                    if page and not self._exhausted:
                        self._page.extend(page)
                        self._cursor = page[-1].line
                    else:
                        self._exhausted = True

    def take(self) -> RowRecord | None:
        """Return the next row for a worker; None if there is no more. Call it after `read`, without a pause."""
        if self._page:
            self._busy += 1
            return self._page.popleft()
        self._check_end()
        return None

    def give_back(self) -> None:
        """Note that a worker has finished a row that it took."""
        self._busy -= 1
        self._check_end()

    def stop(self) -> None:
        """Give out no more rows and start no more calls; calls that were sent are finished."""
        self._exhausted = True
        self._page.clear()
        super().stop()
        self._check_end()

    def _check_end(self) -> None:
        if self._exhausted and not self._page and not self._busy:
            self.ended.set()
