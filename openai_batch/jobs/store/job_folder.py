"""The files that a job keeps in its own folder, next to its rows in the registry.

jobs/UID/ids              one JSON string a line, in input order
jobs/UID/columns          the rows of the table that its requests were made from, in input order (`inputs/source_rows`)
jobs/UID/schema           the JSON schema that all of its requests ask for, if they ask for one
jobs/UID/input.jsonl      the requests, if they are no file of the user's: from a pipe, prepared or cleaned
jobs/UID/model-1.jsonl    with .ids and .rows: the requests of one model (`requests/split`)
jobs/UID/sent.jsonl       with .ids and .rows: the requests that are sent, if some are not
jobs/UID/keys             the fingerprint of each request (`requests/fingerprints`)
jobs/UID/input_name       what the user named as the input
jobs/UID/reused.sqlite    the rows that are not sent, and where their results are (`reused_answers`)
jobs/UID/answers-1.jsonl  with .places: the successes of its first parts, for later jobs (`reused_answers`)
jobs/UID/imported-….answers results that were imported, one file for each part of the job that has some
jobs/UID/direct-1.answers the answers to requests outside of a batch; direct-1.jsonl, .ids and .rows are these requests
jobs/UID/results/         the provider's files of results that were downloaded, by the hash of their id
jobs/UID/results/….index  where each result is in a large one of these files (`results/kept_index`)
jobs/UID/lock             locked while the job's parts are sent
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from openai_batch.errors import InputError, UnreachableError
from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish, sync, sync_folder
from openai_batch.files.slice import FileSlice
from openai_batch.requests.split import ROW_NUMBER, Slice, cut
from openai_batch.results.fitting import judge_by
from openai_batch.results.result import Result

from .records import FOREIGN, PartRecord
from .reused_answers import AnswerFile, count_skipped, skipped_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.requests.batch_file import BatchFile
    from openai_batch.results.result import Judge

    from .records import JobRecord
    from .reused_answers import SubmitPlan

COLUMNS, SCHEMA, IDS, KEYS, INPUT_NAME, REUSED = "columns", "schema", "ids", "keys", "input_name", "reused.sqlite"
RESULTS = "results"
_REWRITTEN = frozenset({INPUT_NAME, REUSED})
"""Small files that are overwritten when a spec is planned again. A job needs copies of them, not links."""

_CHUNK = 1 << 20
_IDS_AT_ONCE = 4096


def keep(job: JobRecord, batch_file: BatchFile, submit_plan: SubmitPlan | None = None) -> None:
    """Store the files that another process needs to continue a job. Each appears complete, the ids last."""
    folder = paths.private_dir(paths.job_dir(job.uid))
    whole = has_ids(job)
    wanted = []
    if batch_file.columns is not None:
        wanted.append((batch_file.columns, COLUMNS))
    if batch_file.schema is not None:
        wanted.append((batch_file.schema, SCHEMA))
    if submit_plan is not None:
        wanted += _files_of(submit_plan, job, whole=whole)
    if batch_file.origin is None and (not job.submitted or job.answered != job.requests):
        wanted.append((batch_file.path, "input.jsonl"))
    if not job.submitted:
        for stem in {part.source for part in job.parts if part.source}:
            if batch_file.folder is not None:
                files = [batch_file.folder / f"{stem}{kind}" for kind in (".jsonl", ".ids", ".rows")]
                wanted += [(path, path.name) for path in files if path.exists()]  # those of another plan may not exist
    for source, name in [*wanted, (batch_file.ids, IDS)]:
        target = folder / name
        # The same requests may come from another table now: results are joined with the latest one.
        needed = name == COLUMNS or not whole or not target.exists()
        if needed and (name in _REWRITTEN or not _link(source, target)):
            _copy(source, target)


def _link(source: Path, target: Path) -> bool:
    """Hard-link a finished file of a work folder; return False if that is not possible or the name is taken."""
    try:
        with source.open("r+b") as handle:  # Windows syncs only files that can be written
            source.chmod(0o600)
            sync(handle.fileno())
        os.link(source, target)
    except OSError:
        return False
    sync_folder(target.parent)
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as stream, part_file(target) as (handle, part):
        shutil.copyfileobj(stream, handle, _CHUNK)
        publish(handle, part, target, replace=True, private=True)


def _files_of(plan: SubmitPlan, job: JobRecord, *, whole: bool) -> list[tuple[Path, str]]:
    """Return the files of a plan to store, with their names. Files of another plan are deleted."""
    wanted = [(plan.keys, KEYS), (plan.input_name, INPUT_NAME)]
    if not whole or skipped_of(job) is None:
        (paths.job_dir(job.uid) / REUSED).unlink(missing_ok=True)
        if plan.count or job.skipped:
            wanted.append((plan.path, REUSED))
    return wanted


def drop_inputs(job: JobRecord) -> None:
    """Delete the copies of the input. Called when every request has succeeded."""
    folder = paths.job_dir(job.uid)
    for path in [folder / "input.jsonl", folder / "sent.jsonl", *folder.glob("model-*.jsonl")]:
        path.unlink(missing_ok=True)


def input_path(job: JobRecord, part: PartRecord | None = None) -> Path:
    """Return the file with the requests of a job, or of one of its parts."""
    folder = paths.job_dir(job.uid)
    if part is not None and part.source:
        return folder / f"{part.source}.jsonl"
    kept = folder / "input.jsonl"
    return kept if kept.exists() else Path(job.input_path or "")


def check_input(job: JobRecord, part: PartRecord | None = None) -> Path:
    """Return the file of `input_path` after checking that its bytes are those that were checked and planned.

    Raises InputError if they are not, or if the file is gone or not known here.
    """
    path = input_path(job, part)
    if part is None and job.input_sha256 is None:
        elsewhere = job.identity.startswith(FOREIGN)
        raise InputError(
            f"job {job.id} was {'created elsewhere' if elsewhere else 'found again'}, and its input is not known here",
            hint="submit a file of those requests" if elsewhere else "run the same command with its input again",
        )
    offset, left = (0, None) if part is None or part.sha256 is None else (part.offset, part.length)
    expected = job.input_sha256 if left is None else part.sha256 if part else None
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            handle.seek(offset)
            while chunk := handle.read(_CHUNK if left is None else min(_CHUNK, left)):
                digest.update(chunk)
                left = None if left is None else left - len(chunk)
    except OSError as exc:
        raise _unreadable(job, path, exc) from exc
    if digest.hexdigest() != expected:
        raise _changed(job, path)
    return path


@contextlib.contextmanager
def opened(job: JobRecord, part: PartRecord, progress: Callable[[int], None]) -> Iterator[FileSlice]:
    """Open a part's bytes for the upload. Raises InputError if they are not those that were checked and planned.

    A missing file or another size raises before the upload. The hash is compared after it, which is before a batch is
    created: an uploaded file with wrong bytes stays at the provider, and no batch uses it.
    """
    path = input_path(job, part)
    try:
        handle = path.open("rb")
    except OSError as exc:
        raise _unreadable(job, path, exc) from exc
    with handle:
        size = os.fstat(handle.fileno()).st_size
        if size < part.offset + part.length or (not part.source and size != job.input_bytes):
            raise _changed(job, path)
        content = FileSlice(handle, part.offset, part.length, progress)
        try:
            yield content
        except UnreachableError as exc:
            exc.sent = exc.sent or content.was_read  # an earlier try may have sent a part of it
            raise
    if content.sha256 is None or content.sha256 != (part.sha256 or job.input_sha256):
        raise _changed(job, path)


def _unreadable(job: JobRecord, path: Path, exc: OSError) -> InputError:
    message = f"the input of job {job.id}, {path}, cannot be read ({exc.strerror})"
    return InputError(message, hint="submit the input again")


def _changed(job: JobRecord, path: Path) -> InputError:
    return InputError(
        f"{path} has changed since job {job.id} was made from it", hint="submit it again; that starts a new job"
    )


def has_ids(job: JobRecord) -> bool:
    """Return whether the job's ids are stored here. Those of a batch that was made elsewhere are not."""
    return (paths.job_dir(job.uid) / IDS).exists()


def has_rows(job: JobRecord, part: PartRecord) -> bool:
    """Return whether the row numbers of a part are stored here. Those of a recovered part may not be."""
    files = [paths.job_dir(job.uid) / f"{part.source}{kind}" for kind in (".ids", ".rows")] if part.source else []
    return part.sha256 is not None and all(path.exists() for path in files)


def read_ids(job: JobRecord) -> Iterator[str]:
    """Yield the job's ids in input order."""
    yield from _ids(paths.job_dir(job.uid) / IDS, 0, None)


def columns_of(job: JobRecord) -> Path | None:
    """Return the file with the rows of the job's table; None if it was made from ready requests, or elsewhere."""
    path = paths.job_dir(job.uid) / COLUMNS
    return path if path.exists() else None


def judge_of(job: JobRecord) -> Judge:
    """Return the function that reads the job's result lines, by the schema that its requests ask for."""
    path = paths.job_dir(job.uid) / SCHEMA
    return judge_by(msgspec.json.decode(path.read_bytes())) if path.exists() else Result.of


def keys_of(uid: str) -> Path | None:
    """Return the file with the fingerprints of the requests of the job with this mark, or None."""
    path = paths.job_dir(uid) / KEYS
    return path if path.exists() else None


def input_name_of(uid: str) -> str | None:
    """Return the `input_name` of the job with this mark, for a job that the registry has lost, or None."""
    path = paths.job_dir(uid) / INPUT_NAME
    return (path.read_bytes().decode("utf-8", "surrogateescape") or None) if path.exists() else None


def rows_known(uid: str) -> tuple[int, int] | None:
    """Return how many rows the job with this mark has, and how many are not sent; None if it has no ids here."""
    folder = paths.job_dir(uid)
    if not (folder / IDS).exists():
        return None
    with (folder / IDS).open("rb") as handle:
        rows = sum(1 for _ in handle)
    return rows, count_skipped(folder / REUSED) if (folder / REUSED).exists() else 0


def skipped_of(job: JobRecord) -> Path | None:
    """Return the table of the rows of a job that are not sent; None if all are sent."""
    path = paths.job_dir(job.uid) / REUSED
    return path if path.exists() else None


def answers_named(name: str) -> Path:
    """Return the path of a file of answers from its name in a table of skipped rows, UID/NAME."""
    uid, _, name = name.partition("/")
    return paths.job_dir(uid) / name


def name_of(answers: Path) -> str:
    """Return the name of a file of answers in tables of skipped rows: UID/NAME."""
    return f"{answers.parent.name}/{answers.name}"


def answers_of(job: JobRecord) -> AnswerFile:
    """Return where the answers of an ended job's own batches are stored. The file may not exist yet."""
    return AnswerFile(paths.job_dir(job.uid) / f"answers-{len(job.parts)}.jsonl")


def folder_of(job: JobRecord) -> Path:
    """Return the job's folder, which may not exist."""
    return paths.job_dir(job.uid)


def result_file(job: JobRecord, file_id: str) -> Path:
    """Return where a file of the provider is kept; its id is a text of the provider, so only a hash is in the path.

    The source of a part whose requests are answered outside of a batch is the id of its journal.
    """
    if any(
        (part.direct and part.source == file_id) or (part.imported and part.output_file_id == file_id)
        for part in job.parts
    ):
        return folder_of(job) / answers_name(file_id)
    return folder_of(job) / RESULTS / f"{hashlib.sha256(file_id.encode()).hexdigest()[:32]}.jsonl"


def answers_name(file_id: str) -> str:
    """Return the name of a file of results that no provider has, in the folder of its job."""
    return f"{file_id}.answers"


def all_files(job: JobRecord) -> list[Path]:
    """Return every file of a job's folder."""
    return [path for path in folder_of(job).rglob("*") if path.is_file()]


def kept_results(job: JobRecord) -> list[Path]:
    """Return the files of a job that can be had again: its results, and its answers for later jobs.

    Results whose files at the provider were deleted are not among them.
    """
    folder = folder_of(job)
    results = [] if any(part.deleted for part in job.parts) else folder.glob(f"{RESULTS}/*")
    return [*results, *folder.glob("answers-*")]


def users_of_answers(job: JobRecord) -> list[str]:
    """Return the marks of the other jobs whose rows have answers of this job."""
    users = []
    for table in paths.state_dir().glob(f"jobs/*/{REUSED}"):
        if table.parent.name != job.uid:
            with skipped_rows(table) as skipped:
                if any(name.startswith(f"{job.uid}/") for name in skipped.files()):
                    users.append(table.parent.name)
    return users


def rows_of(job: JobRecord, part: PartRecord) -> Iterator[tuple[int, str]]:
    """Yield (row number in the input, id) of each of a part's requests, in order."""
    folder = paths.job_dir(job.uid)
    if not part.source:
        yield from enumerate(_ids(folder / IDS, part.ids_offset, part.requests), part.first_row)
        return
    ids = _ids(folder / f"{part.source}.ids", part.ids_offset, part.requests)
    with (folder / f"{part.source}.rows").open("rb") as handle:
        handle.seek(part.first_row * ROW_NUMBER.size)
        for custom_id in ids:
            yield ROW_NUMBER.unpack(handle.read(ROW_NUMBER.size))[0], custom_id


def cut_part(job: JobRecord, part: PartRecord, max_bytes: int) -> list[PartRecord]:
    """Return parts of at most `max_bytes` each for the requests of one part; the first has its number.

    Raises InputError if its bytes have changed.
    """
    path = check_input(job, part)
    folder = paths.job_dir(job.uid)
    whole = Slice(part.first_row, part.requests, part.offset, part.length, part.ids_offset, part.source)
    with path.open("rb") as requests, (folder / (f"{part.source}.ids" if part.source else IDS)).open("rb") as ids:
        slices = cut(requests, ids, whole, max_bytes)
    numbers = [part.number, *range(len(job.parts) + 1, len(job.parts) + len(slices))]
    return [PartRecord.of(bounds, job.id, number) for bounds, number in zip(slices, numbers, strict=True)]


def span_of(job: JobRecord, part: PartRecord) -> tuple[int, int]:
    """Return the row numbers in the input of a part's first and last request."""
    last = part.first_row + part.requests - 1
    if not part.source:
        return part.first_row, last
    with (paths.job_dir(job.uid) / f"{part.source}.rows").open("rb") as handle:
        rows = []
        for number in (part.first_row, last):
            handle.seek(number * ROW_NUMBER.size)
            rows.append(ROW_NUMBER.unpack(handle.read(ROW_NUMBER.size))[0])
        return rows[0], rows[1]


def _ids(path: Path, offset: int, count: int | None) -> Iterator[str]:
    decode = msgspec.json.Decoder(str).decode_lines
    with path.open("rb") as handle:
        handle.seek(offset)
        left = sys.maxsize if count is None else count
        while left > 0 and (block := b"".join(itertools.islice(handle, min(left, _IDS_AT_ONCE)))):
            decoded = decode(block)
            left -= len(decoded)
            yield from decoded
