"""One job, as a program sees it."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar, cast

import msgspec

from openai_batch.files import paths
from openai_batch.files.atomic import as_path, part_file
from openai_batch.providers.polling import Poller, job_delays
from openai_batch.results.merge import NO_RESULT
from openai_batch.results.result import Result
from openai_batch.results.tally import Tally

from .async_methods import async_method

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from openai_batch.providers.batch_info import BatchFault, Counts

    from .session import Session
    from .store.records import JobRecord


_T = TypeVar("_T")

_AT_ONCE = 1000
"""Results that are read in one go for an event loop."""


class Job:
    """One job, as last seen: `refresh` and `wait` ask the provider. Made by `Jobs`."""

    def __init__(self, session: Session, row: JobRecord) -> None:
        self._session = session
        self._row = row

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Job {self.id}{name} at {self.provider}: {self.status}>"

    @property
    def id(self) -> int:
        """The job's number on this machine."""
        return self._row.id

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        return self._row.name

    @property
    def provider(self) -> str:
        """The name of its provider."""
        return self._row.provider

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata that it was given."""
        return dict(self._row.metadata)

    @property
    def status(self) -> str:
        """One word: the batch's own status, or of several batches the one that matters most."""
        return self._row.status

    @property
    def ended(self) -> bool:
        """Whether all of it has come to its end, good or bad."""
        return self._row.ended

    @property
    def counts(self) -> Counts:
        """How many requests there are (`total`), and how many are `completed` and `failed`, as the provider counts."""
        return self._row.counts

    @property
    def batch_ids(self) -> list[str]:
        """The ids of its batches at the provider, in order."""
        return self._row.batch_ids

    @property
    def faults(self) -> list[BatchFault]:
        """Why batches failed as a whole, in the provider's words."""
        return self._row.faults

    def refresh(self) -> Self:
        """Ask the provider how the job stands; nothing is sent or created. Returns the job itself."""
        with self._session.work() as workflow:
            self._row = workflow.refresh(self._known())
        return self

    refresh_async = async_method(refresh)

    def wait(self, timeout: float | None = None, *, retries: int = 0) -> Self:
        """Wait until the job has ended, through lost connections and busy servers. Returns the job itself.

        What a killed program did not send is sent first. `timeout` is in seconds; raises WaitTimeoutError when it
        has passed, and the job goes on. Failed requests are sent again up to `retries` times, where that can help.
        """
        from .retry import wait_and_retry

        with self._session.work() as workflow:
            try:
                wait_and_retry(workflow, self._known(), timeout=timeout, retries=retries)
            finally:
                self._known()
        return self

    async def wait_async(self, timeout: float | None = None) -> Self:  # noqa: ASYNC109 - the job goes on after it
        """Do as `wait` does, without holding up the event loop; it can be cancelled, and the job goes on."""
        import asyncio

        with self._session.work() as workflow:
            provider = workflow.api(self._row).provider
            poller = Poller(job_delays(provider), self._session.reporter.warn, timeout)
        while True:
            with poller.attempt():
                await asyncio.to_thread(self._apart, Job._look)
            if self.ended:
                return self
            await asyncio.sleep(poller.next_delay(f"job {self.id}", self._row.status, f"obatch wait {self.id}"))

    def cancel(self) -> Self:
        """Ask the provider to stop the job; what is finished is kept, and billed. Returns the job itself."""
        from .cancel import cancel

        with self._session.work() as workflow:
            self._row = cancel(workflow, self._known())
        return self

    cancel_async = async_method(cancel)

    def download(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write one result line a request to `path`, in the order of the input, and return the path.

        The file appears only when it is whole. Raises IncompleteError, after writing what there is, if a request has
        no success; OutputExistsError if the path is taken and `force` is False; BatchError if the job still runs.
        """
        from .collect import raise_if_incomplete
        from .download import download

        with self._session.work() as workflow:
            collected = download(workflow, self._ended(), as_path(path), force=force)
        self._row = collected.job
        raise_if_incomplete(collected)
        return as_path(path)

    download_async = async_method(download)

    def results(self) -> Iterator[Result]:
        """Yield what became of each request, in the order of the input, also of those without a success.

        All of it is fetched and checked before the first one comes. Raises BatchError if the job still runs,
        DownloadError if what arrives is not what the provider holds.
        """
        with self._gathered() as lines:
            yield from map(Result.of, lines)

    async def results_async(self) -> AsyncIterator[Result]:
        """Yield what `results` yields, without holding up the event loop."""
        import asyncio

        with contextlib.ExitStack() as stack:
            lines = await asyncio.to_thread(self._apart, lambda job: stack.enter_context(Job._gathered(job)))
            found = map(Result.of, lines)
            while some := await asyncio.to_thread(list, itertools.islice(found, _AT_ONCE)):
                for result in some:
                    yield result

    def retry(self, where: str | Iterable[str] | Callable[[str], bool] | None = None) -> int:
        """Send again what has no success, as part of the same job, and return how many requests that are.

        Without `where` those are sent that it can help: not what was refused for what it asks. `where` picks by the
        code that `Result.error` begins with ("429", "batch_expired", "missing"; several with commas or in a list),
        or is a function of the whole error. Raises BatchError if the job still runs.
        """
        from .retry import retry, survey, wanted_causes

        wanted = where if callable(where) else wanted_causes(where)
        with self._session.work() as workflow:
            found = survey(workflow, self._ended())
            self._row = retry(workflow, self._row, found, wanted)
        return sum(group.count for group in found.groups() if wanted(group.cause))

    retry_async = async_method(retry)

    def _known(self) -> JobRecord:
        """Return the job as it is written down now: another program, or object, may have gone on with it."""
        with self._session.work() as workflow:
            self._row = workflow.registry.job(self.id)
        return self._row

    def _look(self) -> None:
        """Ask once how the job stands, after sending what is not sent yet; one that has ended is not asked about."""
        with self._session.work() as workflow:
            if not self._known().ended:
                self._row = workflow.poll(self._row)

    def _ended(self) -> JobRecord:
        """Return the job as it is now. Raises BatchError if it still runs."""
        with self._session.work() as workflow:
            self._row = workflow.ended(self._known())
        return self._row

    @contextlib.contextmanager
    def _gathered(self) -> Iterator[BinaryIO]:
        """Bring every result line into one file, with a line of ours for each request that has none."""
        from .collect import result_lines

        with contextlib.ExitStack() as stack:
            with self._session.work() as workflow:
                self._ended()
                scratch = paths.private_dir(paths.state_dir() / "spool") / "results"
                out, _ = stack.enter_context(part_file(scratch))

                def note(_row: int, custom_id: str, cause: str | None) -> None:
                    if cause is NO_RESULT:
                        code, _, message = NO_RESULT.partition(": ")
                        line = {"custom_id": custom_id, "error": {"code": code, "message": message}}
                        out.write(msgspec.json.encode(line) + b"\n")

                for line in result_lines(workflow, self._row, scratch, Tally(), note):
                    out.write(line)
            out.seek(0)
            yield out

    def _apart(self, act: Callable[[Self], _T]) -> _T:
        """Do something in the thread that calls, with connections of its own; what it returns of itself is us."""
        with contextlib.closing(self._session.twin()) as session:
            other = type(self)(session, self._row)
            try:
                found = act(other)
            finally:
                self._row = other._row  # noqa: SLF001 - one of us
        return cast("_T", self) if found is other else found
