"""Send the failed and missing requests of a job again, as new parts of the same job.

These are the requests of the input minus those that were answered. The error file and the provider's counts are not
used: they may be incomplete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from openai_batch.costs.usd import usd
from openai_batch.errors import BatchError, CostError, UsageError, count_text
from openai_batch.files import paths
from openai_batch.providers.lookup import get_provider_by_name
from openai_batch.requests.limits import NO_LIMITS
from openai_batch.requests.split import RequestFiles
from openai_batch.results.outcome import Outcome, Verdict
from openai_batch.results.tally import Tally

from .budget import check_retry, max_cost_of
from .collect import Collected, raise_if_incomplete, result_lines
from .missing_reasons import ANSWERED_ELSEWHERE, NO_OUTPUT, WITHDRAWN, MissingReasons
from .store import job_folder
from .store.records import DIRECT, DONE, IMPORTED_URL, RETRY, PartRecord
from .store.reused_answers import skipped_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal
    from pathlib import Path

    from openai_batch.providers.provider import Provider
    from openai_batch.results.merge import Note

    from .store.records import JobRecord
    from .workflow import Workflow

_NOT_SENT = {
    WITHDRAWN: "left to a later job, or cancelled, and not sent",
    ANSWERED_ELSEWHERE: "not sent again: an earlier job, which this machine does not know, may have the answer",
    NO_OUTPUT: "not sent again: the batch is completed, and its output file may still appear",
}
"""The texts for requests that are not sent again, by verdict."""


@dataclass(slots=True)
class Group:
    """The requests that ended in the same way, for the same cause."""

    verdict: Verdict  # how they ended
    count: int  # how many there are
    sample: str  # the id of one of them


@dataclass(slots=True)
class Survey:
    """Which requests of an ended job did not succeed, and why."""

    tally: Tally = field(default_factory=Tally)  # how the requests ended
    rows: dict[int, Verdict] = field(default_factory=dict)  # the verdict by row number, for each that is no success
    samples: dict[Verdict, str] = field(default_factory=dict)  # one request id by verdict

    def groups(self) -> list[Group]:
        """Return these requests by verdict, the most frequent one first."""
        counts = Counter(self.rows.values())
        return [Group(verdict, n, self.samples[verdict]) for verdict, n in counts.most_common()]


def wanted_causes(
    codes: str | int | Iterable[str | int] | None, *, everything: bool = False
) -> Callable[[Verdict], bool]:
    """Return a function that tells whether requests with a verdict are sent again.

    `codes` are outcomes, or codes that causes begin with ("429", "batch_expired", "missing", "cut"), as a list or
    separated by commas. Without them, it is True where sending again can help, or always with `everything`.
    """
    if codes is None:
        return lambda verdict: verdict.retryable or (everything and not verdict.outcome.answered)
    if not isinstance(codes, str | int | Iterable) or isinstance(codes, bytes | bool):
        raise UsageError(f"where= is {codes!r}; nothing was sent", hint='give an outcome or a code, such as "429"')
    wanted = {str(code).strip() for code in (str(codes).split(",") if isinstance(codes, str | int) else codes)}

    def is_wanted(verdict: Verdict) -> bool:
        codes = verdict.cause.partition(":")[0].split()
        # A withdrawn request is missing too, but it is sent only if it is named as withdrawn, or with `everything`.
        own = verdict == WITHDRAWN and not everything
        return not wanted.isdisjoint(codes if own else (*codes, verdict.outcome))

    return is_wanted


def survey(workflow: Workflow, job: JobRecord, also: Note | None = None) -> Survey:
    """Find the requests of an ended job that did not succeed. `also` is called for each request, as by `complete`.

    Raises BatchError if it still runs, and the errors of `collect.result_lines`.
    """
    if not job.ended:
        raise BatchError(f"job {job.id} is still {job.status}", hint=f"obatch wait {job.id}")
    result = Survey()
    reasons = MissingReasons(workflow.registry.job(job.id))

    def note(row: int, custom_id: str, verdict: Verdict) -> None:
        if also is not None:
            also(row, custom_id, verdict)
        if verdict.outcome is not Outcome.SUCCESS:
            verdict = WITHDRAWN if reasons.is_withdrawn(row) else verdict
            result.samples.setdefault(verdict, custom_id)
            result.rows[row] = verdict

    scratch = paths.private_dir(paths.state_dir() / "spool") / "survey"
    for _ in result_lines(workflow, job, scratch, result.tally, note):
        pass
    return result


def check_answers(workflow: Workflow, job: JobRecord) -> None:
    """Read the results of an ended job. Raises IncompleteError unless every request succeeded.

    The results are stored with the job, and count as not collected: the user does not have them yet.
    """
    raise_if_incomplete(Collected(job, None, survey(workflow, job).tally), strict=True)


def check_cost(
    workflow: Workflow,
    job: JobRecord,
    failures: Survey,
    wanted: Callable[[Verdict], bool],
    max_cost: Decimal | None = None,
    *,
    direct: bool = False,
    provider: str | Provider | None = None,
) -> None:
    """Raise CostError if the job can cost more than `max_cost` when the `wanted` requests are sent again.

    If `max_cost` is None, the most that was allowed for the job before counts. `direct` and `provider` are those of
    `retry`. Raises InputError and UsageError as `retry` does.
    """
    job = replace(job, **_new_place(workflow, job, provider))
    limit = max_cost_of(job) if max_cost is None else max_cost
    source = job_folder.check_input(job)
    if limit is not None:
        lines = (line for _, line in _requests(job, source, failures, wanted))
        cost = check_retry(workflow, job, lines, limit, batch=not direct)
        if direct and cost.at_most is not None:
            count = count_text(sum(each.tokens.requests for each in cost.models), "request")
            price = f"at the full price of at most {usd(cost.at_most)}"
            workflow.reporter.note(f"job {job.id}: sending {count} outside of a batch, {price}")


def retry(
    workflow: Workflow,
    job: JobRecord,
    failures: Survey,
    wanted: Callable[[Verdict], bool] | None = None,
    max_cost: Decimal | None = None,
    *,
    direct: bool = False,
    provider: str | Provider | None = None,
) -> JobRecord:
    """Send the requests of `failures` that are `wanted` again, as new parts, and return the job.

    With `direct` they are one part, and answered outside of a batch before this returns (`jobs/direct`). If `wanted`
    is None, those are sent for which it can help. `max_cost` is the most that the job may cost, in USD, with what it
    has spent before; None for what was allowed before. It is stored with the job.
    If the results were imported, the job is one of `provider` from now on, which must be given.

    Raises InputError if the job's input is gone or has changed, CostError if the job can cost more, and the errors of
    `Workflow.add_parts`.
    """
    wanted = wanted or wanted_causes(None)
    for verdict, text in _NOT_SENT.items():
        count = sum(each == verdict for each in failures.rows.values())
        if count and not wanted(verdict):
            workflow.reporter.note(f"job {job.id}: {count_text(count, 'request', 'was')} {text}")
    if not any(map(wanted, failures.samples)):
        return job
    check_cost(workflow, job, failures, wanted, max_cost, direct=direct, provider=provider)
    place = _new_place(workflow, job, provider)
    if place:
        workflow.registry.set_job(job.id, **place)
        job = replace(job, **place)
    if max_cost is not None:
        workflow.registry.set_job(job.id, max_cost=str(max_cost))
    source, limits = job_folder.input_path(job), NO_LIMITS if direct else workflow.api(job).provider.limits
    first = max((part.number for part in job.parts), default=0) + 1

    def plan() -> list[PartRecord]:
        files = RequestFiles(paths.private_dir(paths.job_dir(job.uid)), f"{DIRECT if direct else RETRY}{first}", limits)
        try:
            for row, line in _requests(job, source, failures, wanted):
                files.add(row, line)
        finally:
            files.close()
        return [PartRecord.of(bounds, job.id, number) for number, bounds in enumerate(files.slices(), first)]

    unanswered = failures.tally.requests - failures.tally.answered
    sent = sum(wanted(verdict) and not verdict.outcome.answered for verdict in failures.rows.values())
    return workflow.add_parts(job, plan, unanswered=unanswered, left_out=max(0, unanswered - sent))


def _new_place(workflow: Workflow, job: JobRecord, provider: str | Provider | None) -> dict[str, Any]:
    """Return the fields that put a job of imported results at `provider`. Raises UsageError if that is None."""
    if job.base_url != IMPORTED_URL:
        return {}
    if provider is None:
        hint = f"name it: obatch retry {job.id} -p NAME"
        raise UsageError(f"job {job.id} was imported: no provider has it; nothing was sent", hint=hint)
    chosen = get_provider_by_name(provider) if isinstance(provider, str) else provider
    return {
        "provider": str(chosen.name or chosen.base_url),
        "base_url": str(chosen.base_url),
        "account": workflow.account(chosen),
        "window": chosen.completion_window,
        "output_seconds": chosen.output_seconds,
    }


def _requests(
    job: JobRecord, source: Path, failures: Survey, wanted: Callable[[Verdict], bool]
) -> Iterator[tuple[int, bytes]]:
    """Yield the row numbers and the lines of the requests of `failures` that are `wanted`."""
    with ExitStack() as stack:
        handle = stack.enter_context(source.open("rb"))
        path = job_folder.skipped_of(job)
        # A row that has the result of another row gets the new result of that row.
        skipped = stack.enter_context(skipped_rows(path)) if path is not None else ()
        for row, line in enumerate(handle):
            verdict = failures.rows.get(row)
            if verdict is not None and wanted(verdict) and row not in skipped:
                yield row, line


def wait_and_retry(workflow: Workflow, job: JobRecord, *, timeout: float | None = None, retries: int = 0) -> JobRecord:
    """Wait for a job, then send its failed requests again, up to `retries` times, while that can help.

    `timeout` is in seconds, for each wait. If the job is cancelled during a wait, nothing is sent again. Raises the
    errors of `Workflow.wait` and `retry`.
    """
    ended = workflow.wait(job, timeout=timeout)
    for _ in range(retries):
        if not retry_once(workflow, ended, job):
            break
        job = workflow.registry.job(job.id)
        ended = workflow.wait(job, timeout=timeout)
    return workflow.registry.job(job.id)


def retry_once(workflow: Workflow, job: JobRecord, before: JobRecord) -> bool:
    """Send the failed requests of an ended job again if that can help; return whether any were sent.

    They are not sent if the job could then cost more than was allowed for it, or if it was cancelled since it was read
    as `before`: who cancels a job does not want to pay for the rest.
    """
    ended_before = {part.number for part in before.parts if part.state in DONE}
    if any(part.batch_id and part.status == "cancelled" and part.number not in ended_before for part in job.parts):
        workflow.reporter.note(f"job {job.id} was cancelled: its requests are not sent again")
        return False
    try:
        again = retry(workflow, job, survey(workflow, job))
    except CostError as exc:
        workflow.reporter.note(f"job {job.id}: the failed requests are not sent again: {exc.message}")
        return False
    if len(again.parts) == len(job.parts):
        return False
    workflow.reporter.note(f"job {job.id}: sent the failed requests again")
    return True
