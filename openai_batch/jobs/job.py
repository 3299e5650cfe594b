"""`Job`: one job, for programs."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, BinaryIO, Self

import msgspec

from openai_batch.costs.usd import as_usd
from openai_batch.errors import UsageError
from openai_batch.files import paths
from openai_batch.files.atomic import as_file, part_file
from openai_batch.providers.polling import Poller, job_delays
from openai_batch.results.outcome import Outcome
from openai_batch.results.result_line import MISSING
from openai_batch.results.tally import Tally

from .arguments import check_arguments
from .async_version import async_version
from .receipt import receipt_of
from .store.job_folder import judge_of

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from openai_batch.costs.receipt import Receipt
    from openai_batch.providers.batch_info import BatchFault, Counts
    from openai_batch.providers.provider import Provider
    from openai_batch.report.report import Report
    from openai_batch.results.outcome import Verdict
    from openai_batch.results.result import Result

    from .session import Session
    from .store.records import JobRecord


_AT_ONCE = 1000  # how many results are read at a time for an event loop


class Job:
    """One job. Objects come from `Jobs`; several threads and event loops can use one.

    The properties show the job as last seen; `refresh` and `wait` ask the provider. Each method has an async version
    with the suffix `_async`. Besides the errors that it names, a method that asks the provider may raise ApiError,
    AuthError if the key is missing or refused, NotFoundError if the provider no longer has the batch, and
    RegistryError.
    """

    def __init__(self, session: Session, row: JobRecord) -> None:
        self._session = session
        self._row = row

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__} {self.id}{name} at {self.provider}: {self.status}>"

    def _repr_html_(self) -> str:
        """Return the job as a notebook shows it: a table with its status and its counts."""
        from html import escape

        counts = self.counts
        cells = (self.id, self.name or "", self.provider, self.status, counts.total, counts.completed, counts.failed)
        names = (type(self).__name__, "name", "provider", "status", "requests", "completed", "failed")
        head = "".join(f"<th>{name}</th>" for name in names)
        return f"<table><tr>{head}</tr><tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr></table>"

    @property
    def id(self) -> int:
        """The job's number on this machine."""
        return self._row.id

    @property
    def name(self) -> str | None:
        """The name that the user gave it, or None."""
        return self._row.name

    @property
    def provider(self) -> str:
        """The name of its provider."""
        return self._row.provider

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata that the user gave it."""
        return dict(self._row.metadata)

    @property
    def status(self) -> str:
        """The status of its batch, such as "in_progress" or "completed"; of several batches, the one that matters most.

        Before it has a batch, it is the state of its upload, "not_sent" if no process is sending it, and "queued" if it
        waits for room at the provider. It is "withdrawn" if it ended without any batch.
        """
        return self._row.status

    @property
    def ended(self) -> bool:
        """Whether all its batches have ended, with or without success."""
        return self._row.ended

    @property
    def counts(self) -> Counts:
        """How many requests it sends (`total`), and how many are `completed` and `failed`.

        These are the provider's counts. Once the job has ended, every request that is not counted as completed is
        `failed`. The provider may count refusals and failed requests as completed; the results show them.
        """
        return self._row.counts

    @property
    def batch_ids(self) -> list[str]:
        """The ids of its batches at the provider, in the order of its parts."""
        return self._row.batch_ids

    @property
    def faults(self) -> list[BatchFault]:
        """Why batches failed as a whole, as the provider said."""
        return self._row.faults

    @property
    def receipt(self) -> Receipt | None:
        """What its results have cost, including retries; None before any of them were read."""
        return receipt_of(self._row)

    def refresh(self) -> Self:
        """Ask the provider for the job's status.

            job.refresh().status

        Nothing is sent or created. Returns the job itself.
        """
        with self._session.work() as workflow:
            self._row = workflow.refresh(self._known())
        return self

    refresh_async = async_version(refresh)

    def wait(self, timeout: float | None = None, *, retries: int = 0) -> Self:
        """Wait until the job has ended. Returns the job itself.

            job.wait(timeout=3600, retries=2)

        Parts of a started job that are not sent yet are sent first. After a lost connection or a busy server it asks
        again later. Raises BatchError if no part of the job was ever sent (submit it again), and WaitTimeoutError when
        `timeout` seconds have passed; the job keeps running. Failed requests are sent again up to `retries` times if
        that can help, with a new timeout each time, unless the job is cancelled while this waits.
        """
        from .retry import wait_and_retry

        check_arguments({"timeout": timeout, "retries": retries})
        with self._session.work() as workflow:
            try:
                wait_and_retry(workflow, self._known(), timeout=timeout, retries=retries or 0)
            finally:
                self._known()
        return self

    async def wait_async(self, timeout: float | None = None, *, retries: int = 0) -> Self:  # noqa: ASYNC109
        """Wait like `wait`, without blocking the event loop. If the task is cancelled, the job keeps running."""
        import asyncio

        check_arguments({"timeout": timeout, "retries": retries})
        before = await asyncio.to_thread(self._known)
        await self._wait_once_async(timeout)
        for _ in range(retries or 0):
            if not await asyncio.to_thread(self._retry_once, before):
                break
            before = self._row
            await self._wait_once_async(timeout)
        return self

    def wait_until(
        self, deadline: datetime, *, max_cost: float | Decimal | None = None, timeout: float | None = None
    ) -> Self:
        """Wait until the job has ended, and have the answers by a time. Returns the job itself.

            job.wait_until(datetime.now() + timedelta(hours=8), max_cost=20)

        If the job may be late, its batches are cancelled, what they have finished is kept, and only the rest is sent
        once more outside of a batch, at the full price. `deadline` is in local time if it has no time zone. `max_cost`
        is the most that the whole job may cost, in US dollars; without it, what `submit` was given. A program that was
        killed continues with the same call; at most 16 requests may then be paid twice. Raises UsageError without a
        `max_cost`; CostError, before it waits, if the job can cost more at the full price; BatchError if a batch does
        not stop; and WaitTimeoutError when `timeout` seconds have passed before that.
        """
        from .budget import max_cost_of
        from .deadline import wait_until

        check_arguments({"deadline": deadline, "timeout": timeout})
        try:
            at = deadline.timestamp()
        except (AttributeError, ValueError, OverflowError):  # None, or outside of the calendar
            raise UsageError(f"deadline= is {deadline!r}", hint="give a datetime in the future") from None
        with self._session.work() as workflow:
            job = self._known()
            most = max_cost_of(job) if max_cost is None else as_usd(max_cost, "max_cost=")
            if most is None:
                raise UsageError(
                    "a deadline needs max_cost=: what is late is sent once more at the full price",
                    hint="give the most that the whole job may cost at that price, such as max_cost=5",
                )
            try:
                wait_until(workflow, job, at, most, timeout=timeout)
            finally:
                self._known()
        return self

    wait_until_async = async_version(wait_until)

    async def _wait_once_async(self, timeout: float | None) -> None:  # noqa: ASYNC109 - the job keeps running after it
        import asyncio

        if (await asyncio.to_thread(self._known)).ended:
            return
        with self._session.work() as workflow:
            provider = workflow.api(self._row).provider
            poller = Poller(job_delays(provider), self._session.reporter.warn, timeout)
        while True:
            with poller.attempt():
                await asyncio.to_thread(self._look)
            if self.ended:
                return
            hint, unknown = f"obatch wait {self.id}", self._row.unknown_status
            delay = poller.next_delay(
                f"job {self.id}", self._row.status, hint, unknown=unknown, faults=self._row.troubles
            )
            await asyncio.sleep(delay)

    def _retry_once(self, before: JobRecord) -> bool:
        """Send the failed requests again where that can help; return whether any were sent (see `retry_once`)."""
        from .retry import retry_once

        with self._session.work() as workflow:
            sent = retry_once(workflow, self._known(), before)
        self._known()
        return sent

    def cancel(self) -> Self:
        """Ask the provider to stop the job, and never send its unsent parts. Returns the job itself.

            job.cancel()

        Finished requests are kept and billed. Raises UncertainError if it is unknown whether a part has a batch.
        """
        from .cancel import cancel

        with self._session.work() as workflow:
            self._row = cancel(workflow, self._known())
        return self

    cancel_async = async_version(cancel)

    def download(self, path: str | os.PathLike[str], *, force: bool = False, strict: bool = False) -> Path:
        """Write one result for each request to `path`, in the order of the input, and return the path.

            job.download("answers.csv", force=True)

        If the name ends in .csv or .parquet, it is a table, else the provider's lines of JSON. A table has the
        columns that `obatch run` was asked for if that started the job.

        The file appears only when it is complete. Raises IncompleteError, after writing the file, if a request failed
        or its result is missing (with `strict` also if it was refused, or its answer is cut); OutputExistsError if the
        path is taken and `force` is False; DownloadError if a file does not arrive as the provider stores it;
        BatchError if the job still runs.
        """
        from openai_batch.results.export import RAW, Export, form_of

        from .collect import CollectOptions, raise_if_incomplete
        from .download import download
        from .output_file import check_ending

        target = as_file(path)
        check_ending(target)
        form = form_of(target, None)
        with self._session.work() as workflow:
            known = self._ended().output_form
            columns = {"fields": known.get("fields", False), "safe": known.get("inert", True)}
            export = None if form == RAW else Export(form, **columns)
            collected = download(workflow, self._row, target, CollectOptions(force=force, export=export))
            self._row = collected.job
            raise_if_incomplete(collected, strict=strict)
        return target

    download_async = async_version(download)

    def results(self) -> Iterator[Result]:
        """Yield the result of each request, in the order of the input, also of those that failed or are missing.

            answers = {result.custom_id: result.text for result in job.results()}

        All results are downloaded and checked before the first one is yielded. Raises BatchError if the job still
        runs, DownloadError if a file does not arrive as the provider stores it.
        """
        with self._gathered() as lines:
            yield from map(judge_of(self._row), lines)

    def report(self) -> Report:
        """Return a report of the job: outcomes, causes, tokens, times, and the first 10,000 answers.

            job.report().to_html("report.html")

        The results are read once, and need little memory. Raises BatchError if the job still runs,
        DownloadError if a file does not arrive as the provider stores it.
        """
        from .report import report

        with self._session.work() as workflow:
            made = report(workflow, self._known())
        self._known()
        return made

    report_async = async_version(report)

    async def results_async(self) -> AsyncIterator[Result]:
        """Yield the same as `results`, without blocking the event loop."""
        import asyncio

        with contextlib.ExitStack() as stack:
            lines = await asyncio.to_thread(stack.enter_context, self._gathered())
            results = map(judge_of(self._row), lines)
            while some := await asyncio.to_thread(list, itertools.islice(results, _AT_ONCE)):
                for result in some:
                    yield result

    def retry(
        self,
        where: str | int | Iterable[str | int] | Callable[[str], bool] | None = None,
        *,
        max_cost: float | Decimal | None = None,
        provider: str | Provider | None = None,
    ) -> int:
        """Send failed and missing requests again, as part of the same job, and return their number.

            if job.retry("429, missing"): job.wait()

        Without `where`, the requests are sent that can succeed now, but not those that were refused for their content.
        `where` selects by the outcome ("refused", "cut", "missing"), or by a code at the beginning of the error as text
        ("429", "batch_expired"), several in a list or separated by commas. Or it is a function that gets the cause,
        which is the error as text, and returns whether to send the request. `max_cost` is the most that the job may
        cost, in US dollars, with what it has spent before; without it, what `submit` was given. If its
        results were imported, `provider` is where to send the others, and is needed. Raises UsageError for another
        `where`, NotFoundError if the job is at another provider, BatchError if the job still runs, InputError if its
        input is gone or has changed, CostError if it can cost more, and UncertainError if it is unknown whether a batch
        was created.
        """
        from .recover import known_job
        from .retry import retry, survey, wanted_causes

        wanted = (lambda verdict: where(verdict.cause)) if callable(where) else wanted_causes(where)
        with self._session.work() as workflow:
            most = None if max_cost is None else as_usd(max_cost, "max_cost=")
            to = self._session.given(provider)
            known_job(workflow, str(self.id), to)  # it is an error if this is not its provider
            failures = survey(workflow, self._ended())
            self._row = retry(workflow, self._row, failures, wanted, most, provider=to)
        return sum(group.count for group in failures.groups() if wanted(group.verdict))

    retry_async = async_version(retry)

    def _known(self) -> JobRecord:
        """Return the job as it is stored now: another program or object may have changed it."""
        with self._session.work() as workflow:
            self._row = workflow.registry.job(self.id)
        return self._row

    def _look(self) -> None:
        """Send the unsent parts and ask once for the status, unless the job has ended."""
        with self._session.work() as workflow:
            if not self._known().ended:
                self._row = workflow.poll(self._row)

    def _ended(self) -> JobRecord:
        """Return the job as it is now, if it has ended. Raises BatchError if it still runs."""
        with self._session.work() as workflow:
            self._row = workflow.ended(self._known())
        return self._row

    @contextlib.contextmanager
    def _gathered(self) -> Iterator[BinaryIO]:
        """Collect the result lines in one temporary file, with a generated line for each missing result."""
        from .collect import result_lines

        with contextlib.ExitStack() as stack:
            with self._session.work() as workflow:
                self._ended()
                scratch = paths.private_dir(paths.state_dir() / "spool") / "results"
                out, _ = stack.enter_context(part_file(scratch))

                def note(_row: int, custom_id: str, verdict: Verdict) -> None:
                    if verdict.outcome is Outcome.MISSING:
                        out.write(msgspec.json.encode({"custom_id": custom_id, MISSING: verdict.cause}) + b"\n")

                for line in result_lines(workflow, self._row, scratch, Tally(), note):
                    out.write(line)
                self._known()
            out.seek(0)
            yield out
