"""Bring a job's results home: every file that its batches left, checked, in input order, published whole.

Each terminal state is collected: expired and cancelled batches keep what they have finished, and it is paid for.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openai_batch.errors import BatchError, IncompleteError, NotFoundError
from openai_batch.files import paths
from openai_batch.files.atomic import check_target, part_file, publish
from openai_batch.net.delays import delays
from openai_batch.results.index import as_received, index
from openai_batch.results.merge import complete, merged, read_rows, rows_in_order, write_rows
from openai_batch.results.tally import Tally

from .missing_rows import MissingRows
from .output_file import check_output, publish_output
from .result_order import result_order
from .store import job_folder
from .store.records import COLLECTED, EarlierJobs, JobRecord, PartRecord
from .store.reused_answers import AnswerFile, AnswerFiles, completed, skipped_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.providers.api import BatchApi
    from openai_batch.results.export import Export
    from openai_batch.results.index import Place
    from openai_batch.results.merge import Note, OrderedResult

    from .result_order import ResultOrder, Rows
    from .workflow import Workflow

_LATE_TRIES = 5


@dataclass(slots=True)
class Collected:
    """Where a job's results lie now (None: there were none to write) and what became of its requests."""

    job: JobRecord
    path: Path | None
    tally: Tally = field(default_factory=Tally)


def collect(
    flow: Workflow,
    job: JobRecord,
    target: Path | BinaryIO,
    *,
    force: bool = False,
    earlier: EarlierJobs | None = None,
    missing: Path | None = None,
    export: Export | None = None,
) -> Collected:
    """Write one result line a request, in input order, to a path or a stream, and tell what became of each.

    The path appears only when all that exists is in it. `missing` names a file for the request lines that have no
    success, ready to be submitted; `export` writes another form than the provider's lines; `earlier` are jobs whose
    results these take the place of (`jobs/output_file`). Raises OutputExistsError if a path is taken and `force` is
    False, DownloadError if what arrives is not what the provider holds.
    """
    earlier = earlier or EarlierJobs()
    if export is not None:
        export.columns = job_folder.columns_of(job)
    if isinstance(target, Path):
        check_output(flow, target, job, earlier, force=force)
    if missing is not None:
        check_target(missing, force=force or job.output_path is not None)
    scratch = target if isinstance(target, Path) else paths.private_dir(paths.state_dir() / "spool") / "results"
    tally = Tally()
    missing_rows = MissingRows(job) if missing else None
    with part_file(scratch) as (out, part_path):
        lines = result_lines(flow, job, scratch, tally, _each(missing_rows, export))
        if export is None:
            out.writelines(lines)
        else:
            export.write(lines, out)
        path: Path | None = None
        if missing is not None and missing_rows is not None:
            missing_rows.write(missing, replace=force)
        if out.tell():
            if isinstance(target, Path):
                path = target
                publish_output(flow, job, out, part_path, target, earlier, force=force)
            else:
                _copy(out, target)
    for part in job.parts:
        flow.registry.set_part(part, state=COLLECTED)
    flow.registry.set_job(job.id, succeeded=tally.succeeded, requests=tally.requests)
    if tally.complete:
        job_folder.drop_inputs(job)
    return Collected(flow.registry.job(job.id), path, tally)


def _each(*listeners: MissingRows | Export | None) -> Note | None:
    """Return a function that calls `note` of each of these; None if there are none."""
    notes = [listener.note for listener in listeners if listener is not None]

    def note(row: int, custom_id: str, cause: str | None) -> None:
        for one in notes:
            one(row, custom_id, cause)

    return note if notes else None


def _copy(merged: BinaryIO, target: BinaryIO) -> None:
    merged.seek(0)
    try:
        shutil.copyfileobj(merged, target, 1 << 20)
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise BatchError(f"the results could not be written out: {exc.strerror}") from exc


def fetch_raw(flow: Workflow, job: JobRecord, folder: Path, *, force: bool = False) -> list[Path]:
    """Download the provider's own output and error files, byte for byte, and return their paths."""
    paths = []
    for part in job.parts:
        suffix = f"-{part.number}" if len(job.parts) > 1 else ""
        for kind, file_id in (("output", part.output_file_id), ("errors", part.error_file_id)):
            if file_id:
                path = folder / f"job-{job.id}{suffix}-{kind}.jsonl"
                check_target(path, force=force)
                flow.api(job).download_to(file_id, path, replace=force, progress=_progress(flow))
                paths.append(path)
    return paths


def raise_if_incomplete(collected: Collected) -> None:
    """Raise IncompleteError, with the causes, unless every request has a success."""
    job, tally = collected.job, collected.tally
    if tally.complete:
        return
    facts = [f"{tally.failed:,} failed" if tally.failed else "", _missing_words(tally)]
    told = "; ".join(fact for fact in facts if fact) or "there are no results"
    lines = [f"job {job.id} {job.status}: {tally.succeeded:,} of {tally.requests:,} requests have a success; {told}"]
    lines += [f"{count:,} {'request' if count == 1 else 'requests'}: {c}" for c, count in tally.causes.most_common(5)]
    lines += [str(fault) for fault in job.faults[:10]]
    where = f"what there is lies in {collected.path}; " if collected.path else ""
    if job.faults and not job.skipped:
        hint = "mend the input, or add --again to submit the same one once more"
    elif tally.requests - tally.succeeded <= sum(part.requests for part in job.parts if part.withdrawn):
        hint = f"what was never sent is in a later job, or was cancelled; obatch retry {job.id} --all sends it"
    else:
        hint = f"obatch retry {job.id} sends again what that can help"
    raise IncompleteError("\n".join(lines), hint=where + hint)


def _missing_words(tally: Tally) -> str:
    if not tally.missing_count:
        return ""
    names = ", ".join(tally.missing[:5]) + (", …" if tally.missing_count > 5 else "")  # noqa: PLR2004 - a line's worth
    return f"{tally.missing_count:,} missing" + (f" ({names})" if names else "")


def result_lines(
    flow: Workflow, job: JobRecord, beside: Path, tally: Tally, note: Note | None = None
) -> Iterator[bytes]:
    """Yield the job's result lines in input order, and complete the tally; downloads lie beside `beside` meanwhile.

    `note` hears of each request its row number, its id, and why it has no success (None: it has one).
    """
    path = job_folder.skipped_of(job)
    if job.skipped and path is None:
        raise BatchError(
            f"rows of job {job.id} have the answers of others, and which is not known here",
            hint="run the same command with its input again",
        )
    order = result_order(flow, job)
    if order is None:
        for part in job.parts:
            with _fetched(flow, part, job, beside, tally) as (streams, places):
                yield from as_received(streams, places, tally)
        lacking = max(0, sum(part.counts.total for part in job.parts) - tally.requests)
        tally.missing_count += lacking  # nothing but the provider's count tells
        tally.requests += lacking
        return
    with contextlib.ExitStack() as stack:
        results = _own_results(flow, job, order, beside, tally, stack)
        if path is not None:
            skipped = stack.enter_context(skipped_rows(path))
            files = AnswerFiles([job_folder.answers_named(name) for name in skipped.files()], job.id)
            stack.callback(files.close)
            _, scratch = stack.enter_context(part_file(beside))
            results = completed(results, skipped, files, scratch)
        yield from complete(order.ids(), results, tally, note, rename=path is not None)
    if tally.unknown_ids:
        flow.reporter.warn(f"{tally.unknown_ids:,} results bear ids that were not asked for; they are left out")


def keep_answers(flow: Workflow, job: JobRecord) -> AnswerFile:
    """Keep the successes that an ended job's own batches brought, for later jobs that ask the same; return where.

    Raises NotFoundError where the provider does not have the results any more.
    """
    answers = job_folder.answers_of(job)
    if answers.lines.exists():
        return answers
    order = result_order(flow, job)
    with contextlib.ExitStack() as stack:
        lines, lines_part = stack.enter_context(part_file(answers.lines))
        offsets, offsets_part = stack.enter_context(part_file(answers.offsets))
        if order is None:
            raise NotFoundError(f"the order of job {job.id} is not known")
        answers.write(_own_results(flow, job, order, answers.lines, Tally(), stack), lines, offsets)
        publish(offsets, offsets_part, answers.offsets, replace=True, private=True)
        publish(lines, lines_part, answers.lines, replace=True, private=True)
    return answers


def _own_results(
    flow: Workflow, job: JobRecord, order: ResultOrder, beside: Path, tally: Tally, stack: contextlib.ExitStack
) -> Iterator[OrderedResult]:
    """Return what the job's batches brought, in the order of the rows."""
    parts = [_part_results(flow, part, job, beside, tally, order.rows) for part in order.parts]
    if order.consecutive:
        return itertools.chain.from_iterable(parts)
    files = []
    for part in parts:
        handle, _ = stack.enter_context(part_file(beside))
        write_rows(part, handle)
        files.append(read_rows(handle))
    return merged(files)


def _part_results(
    flow: Workflow, part: PartRecord, job: JobRecord, beside: Path, tally: Tally, rows: Rows
) -> Iterator[OrderedResult]:
    with _fetched(flow, part, job, beside, tally) as (streams, places):
        yield from rows_in_order(rows(part, places), streams, places, tally)


@contextlib.contextmanager
def _fetched(
    flow: Workflow, part: PartRecord, job: JobRecord, beside: Path, tally: Tally
) -> Iterator[tuple[list[BinaryIO], dict[str, Place]]]:
    """Download a part's files and index their lines; the copies are gone at the end."""
    api = flow.api(job)
    part = _with_late_files(flow, api, part)
    places: dict[str, Place] = {}
    streams: list[BinaryIO] = []
    with contextlib.ExitStack() as stack:
        for file_id in (part.output_file_id, part.error_file_id):
            if file_id:
                handle, _ = stack.enter_context(part_file(beside))
                api.download(file_id, handle, _progress(flow))
                handle.seek(0)
                index(handle, len(streams), f"file {file_id}", places, tally)
                streams.append(handle)
        yield streams, places


def _with_late_files(flow: Workflow, api: BatchApi, part: PartRecord) -> PartRecord:
    """Wait a few seconds for file ids: some servers show a batch's end before the files."""
    for delay in itertools.islice(delays(0.5, longest=4.0), _LATE_TRIES):
        nothing = not part.output_file_id and not part.error_file_id
        late = part.counts.completed > 0 and not part.output_file_id
        if not part.batch_id or part.status == "failed" or not (late or (nothing and part.counts.done)):
            break
        time.sleep(delay)
        info = api.get(part.batch_id)
        part = flow.registry.set_part(part, output_file_id=info.output_file_id, error_file_id=info.error_file_id)
    return part


def _progress(flow: Workflow) -> Any:
    return lambda done, total: flow.reporter.progress("download", done, total)
