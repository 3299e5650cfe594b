"""Find the batches that are ours and that the registry does not know, by the marks that each of them bears.

After a kill, with a lost registry, or on another machine with the same key: what was paid for is found again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from . import _jobfiles, _paths, _submit
from ._jobs import RUNNING, Job, Part
from ._locks import locked
from ._queue import was_refused
from .errors import ApiError, BatchError

if TYPE_CHECKING:
    from ._api import BatchApi
    from ._batchinfo import BatchInfo
    from ._profile import Provider
    from ._workflow import Workflow

_TOKEN = re.compile(r"[0-9a-f]{32}")
_ROWS = re.compile(r"(\d{1,15})/(\d{1,15})", re.ASCII)
_FILE_NAME = re.compile(r"obatch-(?P<token>[0-9a-f]{32})-p(?P<part>\d{4})\.jsonl")


def recover(flow: Workflow, providers: list[Provider], *, strict: bool = False) -> list[Job]:
    """Take in every batch of ours at these providers that the registry does not know; return the jobs changed.

    Done twice, or by two processes at once, it changes nothing more. A provider that cannot be asked is told about,
    and the others are asked; with `strict` its error is raised.
    """
    changed: dict[int, None] = {}
    with locked(_paths.private_dir(_paths.state_dir()) / "recover.lock"):
        for provider in providers:
            api = flow.connect(provider)
            try:
                for info in sorted(api.batches(), key=lambda batch: batch.created_at or 0.0):
                    job = _take_in(flow, api, provider, info)
                    if job is not None:
                        changed[job] = None
                flow.registry.set_recovered(str(provider.base_url))
            except ApiError as exc:
                if strict:
                    raise
                flow.reporter.warn(f"{provider}: {exc}")
    return [flow.registry.job(number) for number in changed]


def _take_in(flow: Workflow, api: BatchApi, provider: Provider, info: BatchInfo) -> int | None:
    """Give a batch its place in the registry; None if it has one, or is not ours."""
    if flow.registry.by_batch(info.id) is not None:
        return None
    for part in flow.registry.creating():
        job = flow.registry.job(part.job)
        if flow.attempt(job, part).made(info):
            flow.settle(part, info)
            return job.id
    if _submit.MARK not in info.metadata and not _has_our_file(api, info):
        return None
    if was_refused(info) is not None:
        return None  # it never ran, and its part was sent again or waits to be
    uid = _own_mark(info)
    known = flow.registry.by_uid(uid)
    number = info.metadata.get(_submit.PART_MARK, "1/1").partition("/")[0]
    part = Part(
        job=0,
        number=int(number) if number.isdigit() else 1,
        state=RUNNING,
        requests=info.counts.total,
        token=info.metadata.get(_submit.MARK),
        file_id=info.input_file_id,
        batch_id=info.id,
    )
    if known is None:
        known, _ = flow.registry.add(_job(provider, info, uid), [part], again=True)
    else:
        taken = {other.number for other in known.parts}
        number_here = part.number if part.number not in taken else max(taken) + 1
        flow.registry.add_part(replace(part, job=known.id, number=number_here))
    flow.note_batch(flow.registry.job(known.id), info)
    return known.id


def _own_mark(info: BatchInfo) -> str:
    """Return the mark of the job that a batch belongs to. It names a folder, so nothing but digits will do."""
    mark = info.metadata.get(_submit.JOB_MARK, "")
    return mark if _TOKEN.fullmatch(mark) else hashlib.sha256(info.id.encode()).hexdigest()[:32]


def _rows(info: BatchInfo, uid: str) -> tuple[int, int]:
    """Return how many rows a batch's job has, and how many of them are not sent: from its folder, or its mark."""
    known = _jobfiles.rows_known(uid)
    found = _ROWS.fullmatch(info.metadata.get(_submit.ROWS_MARK, ""))
    sent, rows = map(int, found.groups()) if found else (0, 0)
    if known is None:
        return (rows, rows - sent) if rows > sent else (info.counts.total, 0)
    return known[0], known[1] or max(0, rows - sent)


def _job(provider: Provider, info: BatchInfo, uid: str) -> Job:
    requests, spared = _rows(info, uid)
    metadata = {key: value for key, value in info.metadata.items() if not key.startswith("obatch_")}
    return Job(
        id=0,
        identity=info.metadata.get(_submit.ORDER_MARK) or f"batch:{info.id}",
        uid=uid,
        provider=str(provider.name or provider.base_url),
        base_url=str(provider.base_url),
        endpoint=info.endpoint or "",
        window=provider.completion_window,
        created_at=info.created_at or time.time(),
        metadata=metadata,
        model=info.model,
        requests=requests,
        origin=_jobfiles.origin_of(uid),
        spared=spared,
    )


def _has_our_file(api: BatchApi, info: BatchInfo) -> bool:
    """Tell by the name of its input, where the server drops metadata."""
    if info.metadata or not info.input_file_id:
        return False
    with contextlib.suppress(BatchError):
        return _FILE_NAME.fullmatch(api.file(info.input_file_id).filename or "") is not None
    return False
