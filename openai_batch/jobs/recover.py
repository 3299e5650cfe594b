"""Find batches of ours that the registry does not know, by the marks in their metadata or in their file names.

So batches that were paid for are found again after a kill, with a lost registry, or on another machine with the same
key.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError
from openai_batch.files import paths
from openai_batch.files.locks import locked
from openai_batch.providers import create_once
from openai_batch.providers.lookup import askable_providers, get_provider_by_name

from .store import job_folder
from .store.records import JobRecord, PartRecord, PartState
from .token_limit import was_refused

if TYPE_CHECKING:
    from openai_batch.providers.api import BatchApi
    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.provider import Provider

    from .workflow import Workflow

_TOKEN = re.compile(r"[0-9a-f]{32}")
_SENT_OF_ROWS = re.compile(r"(\d{1,15})/(\d{1,15})", re.ASCII)


def recover(workflow: Workflow, providers: list[Provider], *, strict: bool = False) -> list[JobRecord]:
    """Add every batch of ours at these providers that the registry does not know; return the jobs that changed.

    A second call, also by another process at the same time, changes nothing more. If a provider cannot be asked, a
    warning is reported and the others are asked; with `strict` its ApiError is raised. Raises AuthError if
    `providers` is empty.
    """
    if not providers:
        raise AuthError("no provider can be asked: no key is set", hint="export the key, or name the provider")
    changed: dict[int, None] = {}
    with locked(paths.private_dir(paths.state_dir()) / "recover.lock"):
        for provider in providers:
            api = workflow.connections.to(provider)
            try:
                for info in sorted(api.batches(), key=lambda batch: batch.created_at or 0.0):
                    job = _add_if_ours(workflow, api, provider, info)
                    if job is not None:
                        changed[job] = None
                workflow.registry.set_recovered(str(provider.base_url))
            except ApiError as exc:
                if strict:
                    raise
                workflow.reporter.warn(f"{provider}: {exc}")
    return [workflow.registry.job(number) for number in changed]


def look_back(workflow: Workflow, provider: Provider, *, always: bool = False) -> None:
    """Recover our batches at a provider before a new job is started: one of them may be the batch of that job.

    With `always` each time, else once after a registry was damaged or deleted. Raises ApiError if the provider cannot
    be asked.
    """
    registry = workflow.registry
    if not always and (not registry.lost_before() or registry.recovered(str(provider.base_url))):
        return
    workflow.reporter.note(f"looking for batches of ours at {provider} first")
    recover(workflow, [provider], strict=True)


def find_job(workflow: Workflow, reference: str | None, provider: str | Provider | None = None) -> JobRecord:
    """Return a job by its number, its name or a batch id; the one used last for None.

    An unknown batch becomes a job: it is looked for at `provider`, or, if the id begins with `batch`, at every
    provider whose key is set. Raises NotFoundError.
    """
    try:
        return workflow.registry.find(reference)
    except NotFoundError:
        if reference is None or not (provider or reference.startswith("batch")):
            raise
    job = adopt(workflow, reference, get_provider_by_name(provider) if isinstance(provider, str) else provider)
    workflow.reporter.note(f"batch {reference} is now job {job.id}")
    return job


def adopt(workflow: Workflow, batch_id: str, provider: Provider | None = None) -> JobRecord:
    """Add a batch that was made elsewhere as a job, or return the job that has it already.

    Without `provider` every provider whose key is set is asked. Raises NotFoundError, and with `provider` its ApiError.
    """
    known = workflow.registry.by_batch(batch_id)
    if known is not None:
        return known
    asked = [provider] if provider else askable_providers()
    for candidate in asked:
        try:
            info = workflow.connections.to(candidate).get(batch_id)
        except BatchError:
            if provider:
                raise
            continue
        return _add_foreign(workflow, candidate, info)
    names = ", ".join(str(p.name) for p in asked) or "no provider, since no key is set"
    raise NotFoundError(f"no batch {batch_id} (asked: {names})", hint="name its provider with -p")


def _add_foreign(workflow: Workflow, provider: Provider, info: BatchInfo) -> JobRecord:
    """Store a batch that was made elsewhere as a new job with one part."""
    job = JobRecord(
        id=0,
        identity=f"batch:{info.id}",
        uid=create_once.new_token(),
        provider=str(provider.name or provider.base_url),
        base_url=str(provider.base_url),
        endpoint=info.endpoint or "",
        window=provider.completion_window,
        created_at=info.created_at or time.time(),
        metadata=info.metadata,
        model=info.model,
        requests=info.counts.total,
    )
    part = PartRecord(0, 1, PartState.RUNNING, requests=info.counts.total, file_id=info.input_file_id, batch_id=info.id)
    job, _ = workflow.registry.add(job, [part])
    workflow.store_status(job.parts[0], info)
    return workflow.registry.job(job.id)


def _add_if_ours(workflow: Workflow, api: BatchApi, provider: Provider, info: BatchInfo) -> int | None:
    """Add a batch to the registry and return its job; None if the batch is known already, or is not ours."""
    if workflow.registry.by_batch(info.id) is not None:
        return None
    for part in workflow.registry.creating():
        job = workflow.registry.job(part.job)
        if workflow.attempt_of(job, part).made(info):
            workflow.adopt_found(part, info)
            return job.id
    if create_once.MARK not in info.metadata and not _has_our_file(api, info):
        return None
    if was_refused(info) is not None:
        return None  # it never ran, and its part was sent again or will be
    uid = _job_mark(info)
    known = workflow.registry.by_uid(uid)
    number = info.metadata.get(create_once.PART_MARK, "1/1").partition("/")[0]
    part = PartRecord(
        job=0,
        number=int(number) if number.isdigit() else 1,
        state=PartState.RUNNING,
        requests=info.counts.total,
        token=info.metadata.get(create_once.MARK),
        file_id=info.input_file_id,
        batch_id=info.id,
    )
    if known is None:
        known, _ = workflow.registry.add(_job(provider, info, uid), [part], again=True)
    else:
        taken = {other.number for other in known.parts}
        free = part.number if part.number not in taken else max(taken) + 1
        workflow.registry.add_part(replace(part, job=known.id, number=free))
    workflow.store_batch(workflow.registry.job(known.id), info)
    return known.id


def _job_mark(info: BatchInfo) -> str:
    """Return the mark of a batch's job. It becomes the name of a folder, so only hexadecimal digits are accepted."""
    mark = info.metadata.get(create_once.JOB_MARK, "")
    return mark if _TOKEN.fullmatch(mark) else hashlib.sha256(info.id.encode()).hexdigest()[:32]


def _rows(info: BatchInfo, uid: str) -> tuple[int, int]:
    """Return how many rows a batch's job has, and how many are not sent, from the job's folder or the batch's mark."""
    known = job_folder.rows_known(uid)
    mark = _SENT_OF_ROWS.fullmatch(info.metadata.get(create_once.ROWS_MARK, ""))
    sent, rows = map(int, mark.groups()) if mark else (0, 0)
    if known is None:
        return (rows, rows - sent) if rows > sent else (info.counts.total, 0)
    return known[0], known[1] or max(0, rows - sent)


def _job(provider: Provider, info: BatchInfo, uid: str) -> JobRecord:
    """Return the record of a job of ours that the registry has lost."""
    requests, skipped = _rows(info, uid)
    metadata = {key: value for key, value in info.metadata.items() if not key.startswith("obatch_")}
    return JobRecord(
        id=0,
        identity=info.metadata.get(create_once.ORDER_MARK) or f"batch:{info.id}",
        uid=uid,
        provider=str(provider.name or provider.base_url),
        base_url=str(provider.base_url),
        endpoint=info.endpoint or "",
        window=provider.completion_window,
        created_at=info.created_at or time.time(),
        metadata=metadata,
        model=info.model,
        requests=requests,
        input_name=job_folder.input_name_of(uid),
        skipped=skipped,
    )


def _has_our_file(api: BatchApi, info: BatchInfo) -> bool:
    """Tell by the name of its input file whether a batch without metadata is ours: some servers drop metadata."""
    if info.metadata or not info.input_file_id:
        return False
    with contextlib.suppress(BatchError):
        return create_once.is_upload_name(api.file(info.input_file_id).filename)
    return False
