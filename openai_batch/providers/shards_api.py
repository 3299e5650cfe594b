"""The calls of a provider of kind `shards`: files and batches are objects of a store, and workers run them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.cluster import batches
from openai_batch.cluster.keep_running import keep_running, why_idle
from openai_batch.cluster.launchers import launcher_of
from openai_batch.cluster.progress import progress, results
from openai_batch.cluster.store import open_store
from openai_batch.errors import NotFoundError, UnreachableError
from openai_batch.files.slice import FileSlice

from .batch_info import BatchFault, BatchInfo, Counts
from .port import BatchApi, OutcomeUnknown, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.cluster.launchers import Launcher
    from openai_batch.cluster.progress import Progress
    from openai_batch.cluster.settings import ShardSettings
    from openai_batch.cluster.store import SharedStore

    from .attempt import Attempt
    from .provider import Provider

_OUTPUT = "output_"  # what the id of a batch's results begins with; the batch's own id follows


class ShardsApi(BatchApi):
    """The calls to a store and its workers."""

    def __init__(self, provider: Provider) -> None:
        assert provider.shards is not None  # noqa: S101 - `connect` looks
        self.provider = provider
        self._settings: ShardSettings = provider.shards
        self._opened: SharedStore | None = None
        self._launcher: Launcher | None = None

    def make_ready(self) -> None:
        """Check that the store and the launcher can be used."""
        self._launches().check()
        self._store.prepare()

    def again(self) -> ShardsApi:
        """Return the same calls: the store can be used from several threads."""
        return self

    def close(self) -> None:
        """Let the next call open the store again."""
        self._opened = self._launcher = None

    def upload(self, stream: BinaryIO | FileSlice, filename: str) -> RemoteFile:
        """Write an input file into the store, with an index of its shards."""
        source = stream if isinstance(stream, FileSlice) else FileSlice(stream)
        record = batches.add_input(self._store, source, filename, self._settings.rows_per_shard)
        return RemoteFile(record.id, record.size, record.created_at, record.filename)

    def create(self, attempt: Attempt) -> BatchInfo:
        """Write a new batch into the store. Its id is made of the token of the attempt, so this can be repeated."""
        batches.get_input(self._store, attempt.file_id)
        batches.window_seconds(attempt.window)
        plan = batches.Plan(
            id=f"batch_{attempt.token}",
            input_file_id=attempt.file_id,
            endpoint=attempt.endpoint,
            window=attempt.window,
            created_at=time.time(),
            metadata=attempt.marked_metadata(),
        )
        try:
            return self.get(batches.create_batch(self._store, plan).id)
        except UnreachableError as exc:
            raise OutcomeUnknown(str(exc)) from exc

    def keep_running(self, batch_id: str) -> None:
        """Start workers for a batch if none run."""
        keep_running(self._store, self._launches(), batch_id)

    def get(self, batch_id: str, *, once: bool = False) -> BatchInfo:  # noqa: ARG002 - the store tries again itself
        """Return how far a batch is, from the store alone."""
        found = progress(self._store, batch_id)
        return _info(found, why_idle(self._store, found))

    def batches(
        self,
        page_size: int = 100,  # noqa: ARG002 - there are no pages
        max_pages: int = 1000,  # noqa: ARG002
        on_cut: Callable[[int], None] | None = None,  # noqa: ARG002
    ) -> Iterator[BatchInfo]:
        """Yield all batches of the store, the newest first."""
        for plan in batches.plans(self._store):
            with suppress(NotFoundError, batches.UnreadableError):  # its input was removed from the store
                yield self.get(plan.id)

    def cancel(self, batch_id: str) -> BatchInfo:
        """Let the workers end after the requests that are in flight."""
        batches.get_plan(self._store, batch_id)
        self._store.create(batches.stop_key(batch_id), b"")
        return self.get(batch_id)

    def file(self, file_id: str) -> RemoteFile:
        """Return the record of an input file; of results only the id is known."""
        if file_id.startswith(_OUTPUT):
            batches.check_kept(self._store, file_id.removeprefix(_OUTPUT))
            return RemoteFile(file_id)
        record = batches.get_input(self._store, file_id)
        if self._store.find(batches.input_key(file_id)) is None:
            raise NotFoundError(f"{file_id} is deleted")
        return RemoteFile(record.id, record.size, record.created_at, record.filename)

    def download(
        self,
        file_id: str,
        target: BinaryIO,
        progress: Callable[[int, int | None], None] | None = None,
        *,
        check_record: bool = True,  # noqa: ARG002 - an object is never cut
        on_short: Callable[[int, int], None] | None = None,  # noqa: ARG002
    ) -> int:
        """Write the results of a batch, or an input file, into `target`, and return the number of bytes."""
        count = 0
        for block in self._content(file_id):
            target.write(block)
            count += len(block)
            if progress is not None:
                progress(count, None)
        return count

    def delete_file(self, file_id: str) -> None:
        """Delete an input file, or the results of a batch. Raises NotFoundError if they are deleted already."""
        if file_id.startswith(_OUTPUT):
            batches.delete_results(self._store, file_id.removeprefix(_OUTPUT))
        else:
            batches.delete_input(self._store, file_id)

    def _content(self, file_id: str) -> Iterator[bytes]:
        if not file_id.startswith(_OUTPUT):
            return self._store.stream(batches.input_key(batches.get_input(self._store, file_id).id))
        plan = batches.get_plan(self._store, file_id.removeprefix(_OUTPUT))
        batches.check_kept(self._store, plan.id)
        return results(self._store, plan, batches.get_input(self._store, plan.input_file_id))

    @property
    def _store(self) -> SharedStore:
        if self._opened is None:
            self._opened = open_store(self._settings.store)
        return self._opened

    def _launches(self) -> Launcher:
        if self._launcher is None:
            self._launcher = launcher_of(self._settings, self.provider.resolve_key())
        return self._launcher


def _info(found: Progress, idle: str) -> BatchInfo:
    plan, end = found.plan, found.end
    fault = BatchFault("no_workers", idle)
    if end is not None:
        fault = BatchFault("workers_failed", end.message)
    elif found.trouble:
        fault = BatchFault("upstream_unavailable", found.trouble)
    return BatchInfo(
        id=plan.id,
        status=found.status,
        endpoint=plan.endpoint,
        input_file_id=plan.input_file_id,
        output_file_id=f"{_OUTPUT}{plan.id}" if end is not None else None,
        counts=Counts(found.total, found.succeeded, found.failed),
        errors=(fault,) if fault.message else (),
        metadata=plan.metadata,
        created_at=plan.created_at,
        expires_at=plan.expires_at,
        ended_at=end.at if end is not None else None,
    )
