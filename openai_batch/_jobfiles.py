"""What a job keeps on disk, beside its row: its ids in input order, and an input that is no file of the user's.

jobs/UID/ids              one JSON string a line, in input order
jobs/UID/columns          the rows of the table that its requests were made of, in input order (`_columns`)
jobs/UID/input.jsonl      only where the input came from a pipe, was prepared, or had to be cleaned
jobs/UID/model-1.jsonl    with .ids and .rows: requests sorted out by model (`_split`)
jobs/UID/lock             held while the job's parts are walked
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import _paths
from ._files import locked, part_file, publish
from ._slice import FileSlice
from ._split import ROW_NUMBER
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._inputs import Checked
    from ._jobs import Job, Part

COLUMNS = "columns"
_CHUNK = 1 << 20


def keep(job: Job, checked: Checked) -> None:
    """Keep what going on from another process needs. Each file appears whole or not at all."""
    folder = _paths.private_dir(_paths.job_dir(job.uid))
    wanted = [(checked.ids, "ids")]
    if checked.columns is not None:
        wanted.append((checked.columns, COLUMNS))
    if not job.submitted:
        if checked.origin is None:
            wanted.append((checked.path, "input.jsonl"))
        for stem in {part.source for part in job.parts if part.source}:
            if checked.folder is not None:
                wanted += [(checked.folder / f"{stem}{kind}", f"{stem}{kind}") for kind in (".jsonl", ".ids", ".rows")]
    for source, name in wanted:
        target = folder / name
        # The same requests may come of another table now: results are joined with the latest one.
        if name == COLUMNS or not target.exists():
            with source.open("rb") as stream, part_file(target) as (handle, part):
                shutil.copyfileobj(stream, handle, _CHUNK)
                publish(handle, part, target, replace=True, private=True)


def drop_inputs(job: Job) -> None:
    """Let go of copies of the input: every request has its success."""
    folder = _paths.job_dir(job.uid)
    for path in [folder / "input.jsonl", *folder.glob("model-*.jsonl")]:
        path.unlink(missing_ok=True)


def input_path(job: Job, part: Part | None = None) -> Path:
    """Return the file that a job, or one of its parts, is made of."""
    folder = _paths.job_dir(job.uid)
    if part is not None and part.source:
        return folder / f"{part.source}.jsonl"
    kept = folder / "input.jsonl"
    return kept if kept.exists() else Path(job.input_path or "")


def check_input(job: Job, part: Part | None = None) -> Path:
    """Return that file after making sure that its bytes are still those that were checked. Raises InputError."""
    path = input_path(job, part)
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
        raise InputError(
            f"the input of job {job.id}, {path}, cannot be read ({exc.strerror})", hint="submit the input again"
        ) from exc
    if digest.hexdigest() != expected:
        raise InputError(
            f"{path} has changed since job {job.id} was made of it", hint="submit it again: it is another job now"
        )
    return path


@contextlib.contextmanager
def opened(job: Job, part: Part, progress: Callable[[int], None]) -> Iterator[FileSlice]:
    """Open a part's bytes for the upload. Raises InputError if they are not what was checked, before or after."""
    path = check_input(job, part)
    with path.open("rb") as handle:
        content = FileSlice(handle, part.offset, part.length, progress)
        yield content
    if content.sha256 != (part.sha256 or job.input_sha256):
        raise InputError(f"{path} changed while it was read; no batch was created", hint="submit it again")


def has_ids(job: Job) -> bool:
    """Tell whether the job's ids are kept here; those of a batch made elsewhere are not."""
    return (_paths.job_dir(job.uid) / "ids").exists()


def read_ids(job: Job) -> Iterator[str]:
    """Yield the job's ids in input order."""
    yield from _ids(_paths.job_dir(job.uid) / "ids", 0, None)


def columns_of(job: Job) -> Path | None:
    """Return the file with the rows of the job's table; None where it was made of ready requests, or elsewhere."""
    path = _paths.job_dir(job.uid) / COLUMNS
    return path if path.exists() else None


def rows_of(job: Job, part: Part) -> Iterator[tuple[int, str]]:
    """Yield (number in the input, id) of each of a part's requests, in order."""
    folder = _paths.job_dir(job.uid)
    if not part.source:
        yield from enumerate(_ids(folder / "ids", part.ids_offset, part.requests), part.first_row)
        return
    ids = _ids(folder / f"{part.source}.ids", part.ids_offset, part.requests)
    with (folder / f"{part.source}.rows").open("rb") as handle:
        handle.seek(part.first_row * ROW_NUMBER.size)
        for custom_id in ids:
            yield ROW_NUMBER.unpack(handle.read(ROW_NUMBER.size))[0], custom_id


def _ids(path: Path, offset: int, count: int | None) -> Iterator[str]:
    decode = msgspec.json.Decoder(str).decode
    with path.open("rb") as handle:
        handle.seek(offset)
        for number, line in enumerate(handle):
            if count is not None and number >= count:
                return
            yield decode(line)


def alone(job: Job, waiting: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """Keep other processes of this user out while a job's parts are walked; `waiting` is called once if one is in."""
    return locked(_paths.private_dir(_paths.job_dir(job.uid)) / "lock", waiting)
