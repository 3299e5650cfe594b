"""Bring a job's results home: every file that its batches left, checked, in input order, published whole.

Each terminal state is collected: expired and cancelled batches keep what they have finished, and it is paid for.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from . import _paths
from ._files import check_target, part_file, publish
from ._jobs import COLLECTED, Job, Part
from ._results import Tally, in_order, index
from .errors import BatchError, IncompleteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._api import BatchApi
    from ._results import Place
    from ._workflow import Workflow

_LATE_TRIES = 5


@dataclass(slots=True)
class Collected:
    """Where a job's results lie now (None: there were none to write) and what became of its requests."""

    job: Job
    path: Path | None
    tally: Tally = field(default_factory=Tally)


def collect(
    flow: Workflow, job: Job, target: Path | BinaryIO, *, force: bool = False, missing: Path | None = None
) -> Collected:
    """Write one result line a request, in input order, to a path or a stream, and tell what became of each.

    The path appears only when all that exists is in it. `missing` names a file for the request lines that
    have no success, ready to be submitted. Raises OutputExistsError if a path is taken and `force` is False,
    DownloadError if what arrives is not what the provider holds.
    """
    api = flow.api(job)
    if isinstance(target, Path):
        check_target(target, force=force or may_be_ours(job, target))
    if missing is not None:
        check_target(missing, force=force or job.output_path is not None)
    scratch = target if isinstance(target, Path) else _paths.private_dir(_paths.state_dir() / "spool") / "results"
    tally = Tally()
    with contextlib.ExitStack() as stack:
        merged, part_path = stack.enter_context(part_file(scratch))
        unanswered = _Unanswered(flow, job, missing, stack, replace=force) if missing else None
        for part in job.parts:
            _merge_part(flow, api, job, part, scratch, merged, tally, unanswered)
        path: Path | None = None
        if merged.tell():
            if isinstance(target, Path):
                # Said before it is done: after a kill in between, what lies there is known to be ours.
                flow.registry.set_job(job.id, output_path=str(target.absolute()), succeeded=None)
                publish(merged, part_path, target, replace=force)
                path = target
            else:
                _copy(merged, target)
    for part in job.parts:
        flow.registry.set_part(part, state=COLLECTED)
    flow.registry.set_job(job.id, succeeded=tally.succeeded, requests=tally.requests)
    if tally.complete:
        (_paths.job_dir(job.uid) / "input.jsonl").unlink(missing_ok=True)
    return Collected(flow.registry.job(job.id), path, tally)


def may_be_ours(job: Job | None, target: Path) -> bool:
    """Tell whether what lies at `target` may be this job's own results, of a process that was killed after them.

    They are made once more then, and the same bytes are not published twice.
    """
    return job is not None and job.output_path == str(target.absolute())


def _copy(merged: BinaryIO, target: BinaryIO) -> None:
    merged.seek(0)
    try:
        shutil.copyfileobj(merged, target, 1 << 20)
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise BatchError(f"the results could not be written out: {exc.strerror}") from exc


def fetch_raw(flow: Workflow, job: Job, folder: Path, *, force: bool = False) -> list[Path]:
    """Download the provider's own output and error files, byte for byte, and return their paths."""
    from ._download import fetch_file

    paths = []
    for part in job.parts:
        suffix = f"-{part.number}" if len(job.parts) > 1 else ""
        for kind, file_id in (("output", part.output_file_id), ("errors", part.error_file_id)):
            if file_id:
                path = folder / f"job-{job.id}{suffix}-{kind}.jsonl"
                check_target(path, force=force)
                fetch_file(flow.api(job), file_id, path, replace=force, progress=_progress(flow))
                paths.append(path)
    return paths


def verdict(collected: Collected) -> None:
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
    if job.faults:
        hint = "mend the input, or add --again to submit the same one once more"
    else:
        hint = f"obatch download {job.id} --missing FILE writes the requests without a success, ready to submit"
    raise IncompleteError("\n".join(lines), hint=where + hint)


def _missing_words(tally: Tally) -> str:
    if not tally.missing_count:
        return ""
    names = ", ".join(tally.missing[:5]) + (", …" if tally.missing_count > 5 else "")  # noqa: PLR2004 - a line's worth
    return f"{tally.missing_count:,} missing ({names})"


def _merge_part(
    flow: Workflow,
    api: BatchApi,
    job: Job,
    part: Part,
    beside: Path,
    merged: BinaryIO,
    tally: Tally,
    unanswered: _Unanswered | None,
) -> None:
    part = _with_late_files(flow, api, part)
    places: dict[str, Place] = {}
    mine = Tally()
    with contextlib.ExitStack() as stack:
        streams: list[BinaryIO] = []
        for file_id in (part.output_file_id, part.error_file_id):
            if file_id:
                handle, _ = stack.enter_context(part_file(beside))
                api.download(file_id, handle, _progress(flow))
                handle.seek(0)
                index(handle, len(streams), f"file {file_id}", places, mine)
                streams.append(handle)
        if unanswered is not None:
            unanswered.note(place_id for place_id, place in places.items() if place.success)
        ids = stack.enter_context(_ids(flow, api, job, part))
        for line in in_order(ids, streams, places, mine):
            merged.write(line)
    if mine.strangers:
        flow.reporter.warn(f"{mine.strangers:,} results bear ids that were not asked for; they are left out")
    tally.add(mine)


def _with_late_files(flow: Workflow, api: BatchApi, part: Part) -> Part:
    """Wait a little for file ids that come after the status, as some servers have it."""
    for lag in range(_LATE_TRIES):
        nothing = not part.output_file_id and not part.error_file_id
        late = part.counts.completed > 0 and not part.output_file_id
        if not part.batch_id or part.status == "failed" or not (late or (nothing and part.counts.done)):
            break
        time.sleep(min(2.0**lag * 0.5, 4.0))
        info = api.get(part.batch_id)
        part = flow.registry.set_part(part, output_file_id=info.output_file_id, error_file_id=info.error_file_id)
    return part


@contextlib.contextmanager
def _ids(flow: Workflow, api: BatchApi, job: Job, part: Part) -> Iterator[Iterable[str] | None]:
    """Open the custom ids of a part, in input order; None where nothing tells them."""
    path = _paths.job_dir(job.uid) / "ids"
    if path.exists():
        with path.open("rb") as handle:
            yield _read_ids(handle)
        return
    if not part.file_id:
        yield None
        return
    # A batch made elsewhere: its provider holds the input, and that tells the order.
    with part_file(path) as (handle, _):
        try:
            api.download(part.file_id, handle)
            handle.seek(0)
            found = [msgspec.json.decode(line, type=_Request).custom_id for line in handle if line.strip()]
        except (BatchError, msgspec.MsgspecError) as exc:
            flow.reporter.warn(f"the input of batch {part.batch_id} cannot be had ({exc}); results come as they stand")
            found = None
    yield found


class _Request(msgspec.Struct):
    custom_id: str


def _read_ids(handle: BinaryIO) -> Iterator[str]:
    decode = msgspec.json.Decoder(str).decode
    for line in handle:
        yield decode(line)


class _Unanswered:
    """The request lines that have no success, kept for `missing`."""

    def __init__(self, flow: Workflow, job: Job, target: Path, stack: contextlib.ExitStack, *, replace: bool) -> None:
        self._flow, self._job, self._target, self._replace = flow, job, target, replace
        self._answered: set[str] = set()
        stack.push(self._finish)

    def note(self, answered: Iterable[str]) -> None:
        """Hear which ids have a success."""
        self._answered.update(answered)

    def _finish(self, kind: Any, _error: Any, _trace: Any) -> None:
        if kind is not None:
            return
        decode = msgspec.json.Decoder(_Request).decode
        with self._flow.input_of(self._job).open("rb") as source, part_file(self._target) as (out, part):
            for line in source:
                if decode(line).custom_id not in self._answered:
                    out.write(line)
            publish(out, part, self._target, replace=self._replace)


def _progress(flow: Workflow) -> Any:
    return lambda done, total: flow.reporter.progress("download", done, total)
