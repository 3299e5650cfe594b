"""Collect a job's results: download the files of its batches, check them, and write one result file in input order.

Expired and cancelled batches are collected too: the requests that they finished are paid for.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError, DownloadError, IncompleteError, NotFoundError, RegistryError, count_text
from openai_batch.files import paths
from openai_batch.files.atomic import check_target, part_file, publish
from openai_batch.files.stored_file import StoredFile
from openai_batch.files.streams import is_closed_pipe
from openai_batch.net.delays import delays
from openai_batch.providers.openai_api import short_file
from openai_batch.results.index import Places, as_received
from openai_batch.results.kept_index import index_kept
from openai_batch.results.merge import complete, merged, read_rows, rows_in_order, write_rows
from openai_batch.results.outcome import Outcome
from openai_batch.results.tally import Tally

from .advice import advice
from .missing_reasons import ANSWERED_ELSEWHERE, NO_OUTPUT, WITHDRAWN, MissingReasons
from .missing_rows import MissingRows, was_written
from .output_file import check_missing, check_output, inputs_of, publish_output
from .provider_files import (
    copy_file,
    download_once_more,
    forget_file,
    is_kept,
    keep_short,
    open_file,
    prefetch,
)
from .receipt import part_costs
from .result_order import result_order
from .store import job_folder
from .store.records import IMPORTED_URL, EarlierJobs, JobRecord, PartRecord, PartState, known_files, lacks_output
from .store.reused_answers import AnswerFile, AnswerFiles, completed, skipped_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from openai_batch.files.stored_file import Target
    from openai_batch.results.export import Export
    from openai_batch.results.merge import Note, OrderedResult, Successes
    from openai_batch.results.outcome import Verdict

    from .provider_files import ShortFiles
    from .result_order import ResultOrder
    from .workflow import Workflow

_CAUSES = 5  # how many causes are named at the end of a job
_LATE_TRIES = 5  # how often a batch that has ended is asked again for its file ids


@dataclass(slots=True)
class Collected:
    """The outcome of collecting a job."""

    job: JobRecord  # the job afterwards
    path: Target | None  # the file with its results; None if they went to a stream, or there are none
    tally: Tally = field(default_factory=Tally)  # how the requests ended


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """How the results of a job are written."""

    force: bool = False  # replace the files if they exist
    earlier: EarlierJobs = field(default_factory=EarlierJobs)  # jobs whose results may be replaced (`output_file`)
    missing: Target | None = None  # the file for the lines of failed and missing requests, ready to submit
    export: Export | None = None  # writes another format than the provider's lines


_DEFAULTS = CollectOptions()


def collect(
    workflow: Workflow, job: JobRecord, target: Target | BinaryIO, options: CollectOptions = _DEFAULTS
) -> Collected:
    """Write a job's results, one line for each request in input order, to a path or a stream.

    The path appears only when the file is complete. Raises OutputExistsError if a path is taken and may not be
    replaced, DownloadError if a file does not arrive as the provider stores it, and BatchError if the results cannot be
    written.
    """
    force, missing, export = options.force, options.missing, options.export
    if export is not None:
        export.columns, export.judge = job_folder.columns_of(job), job_folder.judge_of(job)
    file = target if isinstance(target, Path | StoredFile) else None
    if file is not None:
        check_output(workflow, file, job, options.earlier, force=force)
    if missing is not None:
        own = job.output_path is not None or was_written(job, missing)
        check_missing(missing, file, inputs_of(job), force=force or own)
    scratch = target if isinstance(target, Path) else paths.private_dir(paths.state_dir() / "spool") / "results"
    tally = Tally()
    missing_rows = MissingRows(job) if missing else None
    with part_file(scratch) as (out, part_path):
        lines = result_lines(workflow, job, scratch, tally, _notify_all(missing_rows, export))
        if export is None:
            out.writelines(lines)
        else:
            export.write(lines, out)
        if missing is not None and missing_rows is not None:
            missing_rows.write(missing, replace=force)
        written = bool(out.tell())
        if written and file is not None:
            publish_output(workflow, job, out, part_path, file, options.earlier, force=force)
        elif written and not isinstance(target, Path | StoredFile):
            _copy(out, target)
    for part in job.parts:
        workflow.registry.set_part(part, state=PartState.COLLECTED)
    workflow.registry.set_job(job.id, answered=tally.answered, requests=tally.requests)
    if tally.succeeded:
        job_folder.drop_inputs(job)
    return Collected(workflow.registry.job(job.id), file if written else None, tally)


def _notify_all(*listeners: MissingRows | Export | None) -> Note | None:
    """Return a function that calls the `note` method of each listener that is not None; None if there are none."""
    notes = [listener.note for listener in listeners if listener is not None]

    def note(row: int, custom_id: str, verdict: Verdict) -> None:
        for call in notes:
            call(row, custom_id, verdict)

    return note if notes else None


def _copy(merged: BinaryIO, target: BinaryIO) -> None:
    merged.seek(0)
    try:
        shutil.copyfileobj(merged, target, 1 << 20)
        target.flush()
    except OSError as exc:
        if is_closed_pipe(exc):
            raise
        raise BatchError(f"the results could not be written to disk: {exc.strerror}") from exc


def fetch_raw(workflow: Workflow, job: JobRecord, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the provider's own output and error files into a folder, byte for byte, and return their paths.

    Those that are kept are not downloaded again. Raises OutputExistsError if a file exists and `force` is False, and
    DownloadError.
    """
    paths = []
    for part in job.parts:
        suffix = f"-{part.number}" if len(job.parts) > 1 else ""
        for kind, file_id in (("output", part.output_file_id), ("errors", part.error_file_id)):
            if file_id:
                path = folder / f"job-{job.id}{suffix}-{kind}.jsonl"
                check_target(path, force=force)
                copy_file(workflow, job, file_id, path, replace=force)
                paths.append(path)
    return paths


def raise_if_incomplete(collected: Collected, *, strict: bool = False) -> None:
    """Raise IncompleteError, with the causes, unless every request was answered; if `strict`, unless all succeeded."""
    job, tally = collected.job, collected.tally
    if tally.succeeded or (tally.complete and not strict):
        return
    lines = cause_lines(tally) + tally.unreadable[:5]
    lines += [str(fault) for fault in job.faults[:10]]
    where = f"the results so far are in {collected.path}; " if collected.path else ""
    if tally.complete:
        hint = f"`obatch retry {job.id} --where refused,cut` sends these requests again"
    elif tally.unreadable_count and tally.outcomes[Outcome.MISSING]:
        hint = f"`obatch download {job.id} --raw FOLDER` fetches the provider's own files as they are"
    elif tally.reasons[NO_OUTPUT] or any(map(lacks_output, job.parts)):
        hint = f"the output file may still appear: `obatch download {job.id}` looks again"
    elif job.faults and not tally.answered and not job.skipped:
        hint = advice(job.faults) or "fix the input, or add --again to submit it again unchanged"
    elif tally.retryable:
        where_to = " -p NAME" if job.base_url == IMPORTED_URL else ""
        hint = f"`obatch retry {job.id}{where_to}` retries the requests that may succeed"
    elif tally.reasons[WITHDRAWN]:
        hint = f"unsent requests are in a later job, or were cancelled; `obatch retry {job.id} --all` sends them"
    elif tally.reasons[ANSWERED_ELSEWHERE]:
        hint = f"the machine with the earlier job has these answers; `obatch retry {job.id} --all` pays for them again"
    else:
        hint = "fix these requests: without a change, they would fail again"
    summary = f"job {job.id} {job.status}: {tally}{_missing_ids(tally)}"
    outcomes = {str(outcome): count for outcome, count in tally.outcomes.items() if count}
    raise IncompleteError(summary, hint=where + hint, details=lines, outcomes=outcomes)


def cause_lines(tally: Tally) -> list[str]:
    """Return a line for each of the most common causes: how many requests, why, and the id of one of them."""
    lines = []
    for cause in tally.causes.most_common(Outcome.ERROR, Outcome.REFUSED, Outcome.CUT)[:_CAUSES]:
        example = "for example " if cause.count > 1 else ""
        sample = f" ({example}{cause.samples[0]})" if cause.samples else ""
        lines.append(f"{count_text(cause.count, 'request')}: {cause.cause}{sample}")
    return lines


def _missing_ids(tally: Tally) -> str:
    more = ", …" if tally.outcomes[Outcome.MISSING] > 5 else ""  # noqa: PLR2004 - a line's worth
    return f" ({', '.join(tally.missing[:5])}{more})" if tally.missing else ""


def result_lines(
    workflow: Workflow, job: JobRecord, beside: Path, tally: Tally, note: Note | None = None
) -> Iterator[bytes]:
    """Yield the job's result lines in input order, and count the outcomes in `tally`.

    Temporary files are in the folder of the path `beside`. `note` is called for each request with its row
    number, its id, and how it ended; without it, many lines may be yielded as one. Raises BatchError if the answers of
    unsent rows are not known here, NotFoundError if they are gone, and DownloadError.
    """
    path = job_folder.skipped_of(job)
    if job.skipped and path is None:
        raise BatchError(
            f"some rows of job {job.id} have the answers of other rows or jobs, and this machine does not know which",
            hint="run the same command with its input again",
        )
    order, judge = result_order(workflow, job), job_folder.judge_of(job)
    if order is None:
        with _prefetched(workflow, job, job.parts) as parts:
            for part in parts:
                with _fetched(workflow, part, job, tally, None) as (streams, places):
                    yield from as_received(streams, places, tally, judge)
        # Without the input, only the provider's count shows that results are missing.
        missing = max(0, sum(part.counts.total for part in job.parts) - tally.requests)
        tally.outcomes[Outcome.MISSING] += missing
        tally.retryable += missing
        tally.requests += missing
        _warn_of(workflow, tally)
        return
    with contextlib.ExitStack() as stack:
        own = _own_results(workflow, job, order, beside, tally, stack)
        results: Iterator[OrderedResult | Successes] = own
        if path is not None:
            skipped = stack.enter_context(skipped_rows(path))
            files = AnswerFiles([job_folder.answers_named(name) for name in skipped.files()], job.id, judge)
            stack.callback(files.close)
            _, scratch = stack.enter_context(part_file(beside))
            results = completed(own, skipped, files, scratch)
        reasons = MissingReasons(job)
        rename = path is not None
        yield from complete(order.ids(), results, tally, note, missing=reasons.verdict, rename=rename, judge=judge)
    _warn_of(workflow, tally)


def _warn_of(workflow: Workflow, tally: Tally) -> None:
    """Warn of lines in the provider's files that are in no result."""
    if tally.unknown_ids:
        results = count_text(tally.unknown_ids, "result", "has")
        workflow.reporter.warn(f"{results} an id that was not asked for; they are not in the output")
    if tally.repeats:
        results = count_text(tally.repeats, "result", "repeats")
        workflow.reporter.warn(f"{results} a request that already had one; the best result of each is kept")
    if tally.short:
        more = f" (and {count_text(len(tally.short) - 1, 'file')} more)" if len(tally.short) > 1 else ""
        workflow.reporter.warn(f"{tally.short[0]}{more}; accepted, because each request has a complete result")
    if tally.unreadable_count:
        more = f" (and {tally.unreadable_count - 1:,} more)" if tally.unreadable_count > 1 else ""
        workflow.reporter.warn(f"{tally.unreadable[0]}{more}")


def keep_answers(workflow: Workflow, job: JobRecord) -> AnswerFile:
    """Store the answers of an ended job's own batches, for later jobs with the same requests.

    Returns where they are. Raises NotFoundError if the provider no longer has the results.
    """
    answers = job_folder.answers_of(job)
    if answers.lines.exists() and answers.index.exists():
        return answers
    order = result_order(workflow, job)
    with contextlib.ExitStack() as stack:
        lines, lines_part = stack.enter_context(part_file(answers.lines))
        index, index_part = stack.enter_context(part_file(answers.index))
        if order is None:
            raise NotFoundError(f"the order of job {job.id} is not known")
        answers.write(_own_results(workflow, job, order, answers.lines, Tally(), stack), lines, index)
        publish(index, index_part, answers.index, replace=True, private=True)
        publish(lines, lines_part, answers.lines, replace=True, private=True)
    return answers


def _own_results(
    workflow: Workflow, job: JobRecord, order: ResultOrder, beside: Path, tally: Tally, stack: contextlib.ExitStack
) -> Iterator[OrderedResult]:
    """Return the results of the job's own batches, in the order of the rows."""
    prefetched = stack.enter_context(_prefetched(workflow, job, order.parts))
    parts = (_part_results(workflow, part, job, tally, order) for part in prefetched)
    if order.consecutive:
        return itertools.chain.from_iterable(parts)
    files = []
    for part in parts:
        handle, _ = stack.enter_context(part_file(beside))
        write_rows(part, handle)
        files.append(read_rows(handle))
    return merged(files)


def _part_results(
    workflow: Workflow, part: PartRecord, job: JobRecord, tally: Tally, order: ResultOrder
) -> Iterator[OrderedResult]:
    with _fetched(workflow, part, job, tally, order.ids_of(part)) as (streams, places):
        yield from rows_in_order(order.rows(part, places), streams, places, tally)


def _prefetched(
    workflow: Workflow, job: JobRecord, parts: Collection[PartRecord]
) -> AbstractContextManager[Iterator[PartRecord]]:
    """Give the parts, in order, while the files of the next ones are downloaded, if files of several are not kept."""
    missing = sum(not is_kept(job, part) for part in parts)
    if missing <= 1:
        return contextlib.nullcontext(iter(parts))
    return workflow.for_parts(job, lambda own, part: prefetch(own, job, part), parts, missing)


@contextlib.contextmanager
def _fetched(
    workflow: Workflow, part: PartRecord, job: JobRecord, tally: Tally, ids: Iterable[str] | None
) -> Iterator[tuple[list[BinaryIO], Places]]:
    """Open a part's files, which are downloaded if they are not kept yet, and index their lines.

    A file that is shorter than its record is accepted only if each of `ids`, the part's requests, has a result.
    """
    short: ShortFiles = {}
    part = _with_current_files(workflow, job, _with_late_files(workflow, job, part), short)
    places, unreadable_before = Places(), tally.unreadable_count
    judge = job_folder.judge_of(job)
    streams: list[BinaryIO] = []
    with contextlib.ExitStack() as closed, contextlib.ExitStack() as stack:  # Windows renames no open file
        for file_id in (part.output_file_id, part.error_file_id):
            if file_id:
                handle = open_file(workflow, job, file_id, stack, short)
                unreadable = tally.unreadable_count
                try:
                    index_kept(handle, len(streams), f"file {file_id}", places, tally, judge)
                except DownloadError:
                    closed.callback(forget_file, job, file_id)
                    raise
                if tally.unreadable_count > unreadable:
                    closed.callback(download_once_more, job, file_id)
                streams.append(handle)
        if short:
            whole = (
                ids is not None and tally.unreadable_count == unreadable_before and all(map(places.__contains__, ids))
            )
            for file_id, (count, recorded) in short.items():
                if not whole:
                    raise short_file(file_id, count, recorded)
                tally.short.append(f"file {file_id} arrived with {count:,} of {recorded:,} bytes on record")
            keep_short(job, short)
        _keep_costs(workflow, job, part, places)
        yield streams, places


def _keep_costs(workflow: Workflow, job: JobRecord, part: PartRecord, places: Places) -> None:
    """Store what the results of a part cost."""
    if part.imported:
        return  # it was paid elsewhere, if at all
    costs = part_costs(workflow.connections.profile(job), job, part, places.usage)
    if costs != part.costs:
        with contextlib.suppress(RegistryError):  # the results count more than their receipt
            workflow.registry.set_part(part, costs=costs)


def _with_current_files(workflow: Workflow, job: JobRecord, part: PartRecord, short: ShortFiles) -> PartRecord:
    """Download a part's files; if one is not found, ask the batch for its file ids again: some servers change them.

    Raises NotFoundError if the batch shows no others.
    """
    ids = (part.output_file_id, part.error_file_id)
    try:
        with contextlib.ExitStack() as stack:
            for file_id in filter(None, ids):
                open_file(workflow, job, file_id, stack, short)
    except NotFoundError:
        if not part.batch_id:
            raise
        output, error = known_files(part, workflow.api(job).get(part.batch_id))
        if (output, error) == ids:
            raise
        return workflow.registry.set_part(part, output_file_id=output, error_file_id=error)
    return part


def _with_late_files(workflow: Workflow, job: JobRecord, part: PartRecord) -> PartRecord:
    """Wait a few seconds for file ids: some servers report the end of a batch before its files."""
    for delay in itertools.islice(delays(0.5, longest=4.0), _LATE_TRIES):
        no_output = part.counts.completed > 0 and not part.output_file_id
        no_files = part.counts.failed > 0 and not part.output_file_id and not part.error_file_id
        if not part.batch_id or part.status == "failed" or not (no_output or no_files or lacks_output(part)):
            break
        time.sleep(delay)
        output, error = known_files(part, workflow.api(job).get(part.batch_id))
        part = workflow.registry.set_part(part, output_file_id=output, error_file_id=error)
    return part
