"""Make a job of results that were made elsewhere: by `vllm run-batch`, Ray Data, Daft or another tool.

Its parts have no batch. They are slices of the input, and their results are in the job's folder. Nothing is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from codecs import BOM_UTF8
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError, Problem, count_text
from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish
from openai_batch.files.lines import lines
from openai_batch.files.locks import locked
from openai_batch.inputs.formats import REQUESTS, Inputs, kind_of
from openai_batch.providers.attempt import new_token
from openai_batch.providers.batch_info import Counts
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.join import globbed
from openai_batch.requests.limits import Limits
from openai_batch.requests.source import open_source
from openai_batch.results.fitting import judge_by
from openai_batch.results.foreign import ANSWER, result_line
from openai_batch.results.index import MAX_RESULT_BYTES
from openai_batch.results.outcome import OUTCOMES
from openai_batch.results.plain_success import verdict_of
from openai_batch.results.result import Result
from openai_batch.results.result_line import UNREADABLE, id_of, read_json

from .job_spec import check_name
from .store import job_folder
from .store.best_results import best_results
from .store.records import IMPORTED, IMPORTED_URL, JobRecord, PartRecord, PartState
from .store.reused_answers import SubmitPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openai_batch.requests.batch_file import BatchFile
    from openai_batch.requests.source import Source

    from .store.best_results import BestResults
    from .workflow import Workflow

_LIMITS = Limits(max_bytes=None, one_model=False, max_embedding_inputs=None)
"""The size of a part: only the ids of one part at a time are in memory when results are read."""


def import_results(
    workflow: Workflow,
    results: Sequence[str],
    source: Source,
    folder: Path,
    *,
    input_name: str | None = None,
    name: str | None = None,
    answer: str = ANSWER,
) -> JobRecord:
    """Make a job of the results in files and folders, or add them to the job that the same input made before.

    `source` is the batch file that they answer, `folder` a work folder, `answer` the column with the answers. Of
    several results for a request the best one counts; results that the job has already change nothing. Raises
    InputError if the input is no batch file, or if none of the results is for it.
    """
    check_name(name)
    batch_file = check_file(source, _LIMITS, folder)
    judge = Result.of if batch_file.schema is None else judge_by(msgspec.json.decode(batch_file.schema.read_bytes()))
    reader = _Reader(answer)
    with (
        locked(paths.private_dir(paths.state_dir()) / "import.lock"),
        batch_file.ids.open("rb") as ids,
        best_results(folder / "best", map(msgspec.json.decode, ids)) as best,
    ):
        job = workflow.registry.imported(_identity(batch_file))
        for line in _imported_before(job):
            best.add(id_of(line), verdict_of(line, judge).outcome, line, new=False)
        read = 0
        for path in _files(results):
            for custom_id, line in reader.results(path, folder):
                with reader.reading(path):
                    best.add(custom_id, verdict_of(line, judge).outcome, line)
                    read += 1
        _report(workflow, reader, best, read, source)
        facts: dict[str, Any] = {"input_name": input_name}
        facts["input_path"] = str(batch_file.origin) if batch_file.origin else None
        return _stored(workflow, job, batch_file, best, folder, name, facts)


def _identity(batch_file: BatchFile) -> str:
    """Return the identity of the job of all results that are imported for an input."""
    facts = f"{IMPORTED_URL} {batch_file.report.endpoint} {batch_file.sha256}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _imported_before(job: JobRecord | None) -> Iterator[bytes]:
    """Yield the result lines that were imported into a job before."""
    for part in job.parts if job is not None else ():
        if job is not None and part.imported:
            with job_folder.result_file(job, str(part.output_file_id)).open("rb") as handle:
                yield from handle


def _files(names: Sequence[str]) -> Iterator[str]:
    """Yield the names of the files; of a folder, those in it, except for hidden ones and markers such as _SUCCESS."""
    for name in globbed(names):
        if not Path(name).expanduser().is_dir():
            yield name
            continue
        inside = sorted(path for path in Path(name).expanduser().rglob("*") if path.is_file())
        yield from (str(path) for path in inside if not path.name.startswith((".", "_")))


class _Reader:
    """Reads files of results, and remembers what cannot be read."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self._where: int | None = None  # the line or the row that was read last
        self.unreadable = 0
        self.first: str | None = None

    def results(self, name: str, folder: Path) -> Iterator[tuple[str, bytes]]:
        """Yield (custom id, result line) of each result in a file; `folder` is a work folder."""
        own = folder / "results"
        own.mkdir()
        try:
            for self._where, row, raw in _rows(name, own):
                with self.reading(name):
                    values = row if isinstance(row, dict) else _object(row)
                    line = result_line(values, self._answer, raw)
                    if line is not None:
                        yield str(values["custom_id"]), line + b"\n"
        finally:
            shutil.rmtree(own, ignore_errors=True)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Count a line that cannot be read, and remember the first one."""
        try:
            yield
        except UNREADABLE as exc:
            self.unreadable += 1
            self.first = self.first or f"{name}:{self._where or 1} is not a result: {exc}"


def _rows(name: str, folder: Path) -> Iterator[tuple[int | None, dict[str, Any] | bytes | str, bytes | None]]:
    """Yield (place, row, line) of each row of a file; a line of JSON is not parsed yet. A problem is a text."""
    source = open_source(name, folder)
    kind = kind_of(source)
    if kind in ("jsonl", REQUESTS):
        with source.path.open("rb") as handle:
            for number, _, raw in lines(handle, MAX_RESULT_BYTES):
                if isinstance(raw, int):
                    yield number, f"the line has {raw:,} bytes", None
                elif line := (raw.removeprefix(BOM_UTF8) if number == 1 else raw).strip():
                    yield number, line, line
        return
    for table in Inputs([name], folder, format=kind).tables():
        for place, row in table.rows:
            yield place, row.message if isinstance(row, Problem) else row, None


def _object(line: bytes | str) -> dict[str, Any]:
    """Return the object of a line of JSON. Raises one of UNREADABLE, also for a problem."""
    if isinstance(line, str):
        raise ValueError(line)  # noqa: TRY004 - the errors of lines are ValueErrors
    try:
        values = msgspec.json.decode(line)
    except UNREADABLE:
        values = read_json(line)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the errors of lines are ValueErrors
    return values


def _report(workflow: Workflow, reader: _Reader, best: BestResults, read: int, source: Source) -> None:
    """Warn of what is not imported. Raises InputError if that is everything."""
    nothing = "nothing was imported"
    if not read:
        raise InputError(
            f"{reader.first or 'there are no results'}; {nothing}",
            hint="a result has a custom_id, and a response, a body or an answer; --answer names another column",
        )
    if best.unknown == read:
        have = count_text(read, "result", "has")
        raise InputError(
            f"{have} no id of a request in {source.name}; {nothing}", hint="name the batch file of these results"
        )
    if best.unknown:
        results = count_text(best.unknown, "result", "has")
        workflow.reporter.warn(f"{results} an id that is not in {source.name}; they are not imported")
    if best.repeats:
        results = count_text(best.repeats, "result", "repeats")
        workflow.reporter.warn(f"{results} a request that already had one; the best result of each is kept")
    if reader.first is not None:
        more = f" (and {reader.unreadable - 1:,} more)" if reader.unreadable > 1 else ""
        workflow.reporter.warn(f"{reader.first}{more}")


def _stored(
    workflow: Workflow,
    known: JobRecord | None,
    batch_file: BatchFile,
    best: BestResults,
    folder: Path,
    name: str | None,
    facts: dict[str, Any],
) -> JobRecord:
    """Store the results that are new, in a new job or as new parts of the known one, and return the job."""
    job = known or replace(_new_job(batch_file), name=name, **facts)
    plan = SubmitPlan(batch_file.keys, folder / "input_name", folder / "reused.sqlite")
    plan.input_name.write_bytes((facts["input_name"] or "").encode("utf-8", "surrogateescape"))
    with contextlib.ExitStack() as undo:
        if known is None:
            undo.callback(shutil.rmtree, job_folder.folder_of(job), ignore_errors=True)
        with workflow.alone(job):
            parts = list(_parts(job, batch_file, best))
            job_folder.keep(job, batch_file, plan)
            if known is None:
                job, _ = workflow.registry.add(job, parts, again=True)
            else:
                workflow.registry.set_job(job.id, **facts)
                if parts:
                    workflow.registry.add_parts(job.id, parts, answered=None, unanswered=None, left_out=None)
                if name is not None and name != job.name:
                    workflow.registry.name(job.id, name, facts["input_name"])
        undo.pop_all()
    workflow.registry.touch(job.id)
    return workflow.registry.job(job.id)


def _new_job(batch_file: BatchFile) -> JobRecord:
    report = batch_file.report
    return JobRecord(
        id=0,
        identity=_identity(batch_file),
        uid=new_token(),
        provider=IMPORTED_URL.removesuffix(":"),
        base_url=IMPORTED_URL,
        account=IMPORTED_URL,
        endpoint=str(report.endpoint),
        window="",
        created_at=time.time(),
        model=report.model,
        input_sha256=batch_file.sha256,
        input_bytes=batch_file.size,
        requests=report.requests,
    )


def _parts(job: JobRecord, batch_file: BatchFile, best: BestResults) -> Iterator[PartRecord]:
    """Write the new results of each slice of the input to a file in the job's folder, and yield its part."""
    number, now = max((part.number for part in job.parts), default=0), time.time()
    for bounds in batch_file.slices:
        file_id, completed, failed = f"{IMPORTED}{new_token()}", 0, 0
        target = paths.private_dir(job_folder.folder_of(job)) / job_folder.answers_name(file_id)
        with part_file(target) as (handle, part):
            for outcome, line in best.new(bounds.first_row, bounds.requests):
                handle.write(line)
                completed += OUTCOMES[outcome].answered
                failed += not OUTCOMES[outcome].answered
            if not completed + failed:
                continue
            publish(handle, part, target, private=True)
        number += 1
        yield replace(
            PartRecord.of(bounds, job.id, number),
            state=PartState.ENDED,
            status="completed",
            counts=Counts(bounds.requests, completed, failed),
            output_file_id=file_id,
            ended_at=now,
            checked_at=now,
        )
