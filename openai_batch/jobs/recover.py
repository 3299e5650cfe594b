"""Find batches of ours that the registry does not know, by the marks in their metadata or in their file names.

So batches that were paid for are found again after a kill, with a lost registry, or on another machine with the same
key.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from openai_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    NotFoundError,
    UncertainError,
    UnreachableError,
    count_text,
)
from openai_batch.files import paths
from openai_batch.files.locks import locked
from openai_batch.net.time_limit import deadline_in, is_over, until
from openai_batch.providers.attempt import new_token
from openai_batch.providers.lookup import askable_providers, get_provider_by_name
from openai_batch.providers.marks import is_ours, own_metadata, read_marks, token_of
from openai_batch.providers.openai_api import LIST_SECONDS

from .attempts import attempt_of
from .store import job_folder
from .store.records import FOREIGN, IMPORTED_URL, UNIDENTIFIED, JobRecord, PartRecord, PartState
from .token_limit import was_refused
from .workflow import AUDITS, LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.marks import Marks
    from openai_batch.providers.port import BatchApi
    from openai_batch.providers.provider import Provider

    from .job_spec import JobSpec
    from .workflow import Workflow


_T = TypeVar("_T")

_NO_LIST = frozenset({404, 405, 501})  # HTTP statuses of a server that has no list of batches

_KEPT = 60 * 86400.0
"""Seconds before the newest batch for which batches whose marks are not listed are looked at one by one. Providers
delete files after 30 days."""


def recover(workflow: Workflow, providers: list[Provider], *, strict: bool = False) -> list[JobRecord]:
    """Add every batch of ours at these providers that the registry does not know; return the jobs that changed.

    A second call, also by another process at the same time, changes nothing more. If a provider cannot be asked, a
    warning is reported and the others are asked; with `strict`, or if none of them can be asked, its ApiError,
    AuthError or NotFoundError is raised. Raises AuthError if `providers` is empty.
    """
    changed = _ask_each(workflow, providers, lambda provider: _look_through(workflow, provider), strict=strict)
    return [workflow.registry.job(number) for number in dict.fromkeys(changed)]


def unknown_batches(workflow: Workflow, providers: list[Provider]) -> dict[str, str]:
    """Return the ids of the batches that `recover` would add, with the names of their providers; nothing is stored.

    Raises the errors of `recover`.
    """

    def ask(provider: Provider) -> list[tuple[str, str]]:
        api = workflow.connections.to(provider)
        listed = list(api.batches(on_cut=lambda count: _warn_of_cut_list(workflow, provider, count)))
        unknown = [batch for batch in listed if job_with(workflow, provider, batch) is None]
        shown = _shown_singly(api, listed, unknown, None)
        found = [shown.get(batch.id, (batch, None)) for batch in unknown]
        return [(info.id, str(provider.name)) for info, filename in found if _ours(info, filename)]

    return dict(_ask_each(workflow, providers, ask))


def _ask_each(
    workflow: Workflow, providers: list[Provider], ask: Callable[[Provider], list[_T]], *, strict: bool = False
) -> list[_T]:
    """Return what `ask` returns for each provider, all together. What is raised is said at `recover`."""
    if not providers:
        raise AuthError("no provider can be asked: no key is set", hint="export the key, or name the provider")
    found: list[_T] = []
    failed = 0
    for provider in providers:
        try:
            found += ask(provider)
        except (ApiError, AuthError, NotFoundError) as exc:
            failed += 1
            if strict or failed == len(providers):
                raise
            workflow.reporter.warn(f"{provider}: {exc}")
    return found


def recover_lost(workflow: Workflow, provider: Provider) -> None:
    """Recover our batches at a provider, once after a registry was damaged or deleted.

    Raises ApiError if the provider cannot be asked.
    """
    registry = workflow.registry
    if registry.lost_before() and not registry.looked_through(provider.account):
        workflow.reporter.note(f"first looking for earlier batches at {provider}")
        recover(workflow, [provider], strict=True)


def look_back(workflow: Workflow, spec: JobSpec, *, always: bool = False) -> None:
    """Find the batches of a spec that the registry does not know, before its job is started.

    They are on the account's list: this machine has lost its registry, or another machine has started them. The list is
    read when the registry meets the account for the first time, or each time with `always`. Raises ApiError if the list
    cannot be read, and UncertainError if a batch of ours on it may be one of this spec.
    """
    registry, provider = workflow.registry, spec.provider
    recover_lost(workflow, provider)
    if always or not registry.looked_through(provider.account):
        try:
            _look_through(workflow, provider, spec)
        except (ApiError, NotFoundError) as exc:
            if always or getattr(exc, "status", 404) not in _NO_LIST:
                raise
            if registry.note_without_list(provider.account):
                workflow.reporter.warn(f"{provider} does not list its batches{_unseen(provider)}")
    account = workflow.account(provider)
    for batch_id in registry.elsewhere(account, spec.identity):
        with contextlib.suppress(NotFoundError):  # the provider has deleted it
            add_if_ours(workflow, provider, *_get(workflow, provider, batch_id))
    if registry.by_identity(spec.identity, account) is None:
        _stop_if_unidentified(workflow, spec, account)


def _look_through(workflow: Workflow, provider: Provider, spec: JobSpec | None = None) -> list[int]:
    """Read an account's whole list, and add the batches of ours that the registry does not know; return their jobs.

    With `spec`, only those of its job are added, and those that do not say what was asked for. Of the others it is
    stored that they exist.
    """
    api, registry = workflow.connections.to(provider), workflow.registry
    changed, others = [], []
    with locked(paths.private_dir(paths.state_dir()) / "recover.lock"), until(deadline_in(LIST_SECONDS)):
        batches = api.batches(on_cut=lambda count: _warn_of_cut_list(workflow, provider, count))
        listed = sorted(batches, key=lambda batch: batch.created_at or 0.0)
        unknown = []
        for batch in listed:
            known = job_with(workflow, provider, batch)
            if known is not None:
                _merge_account(workflow, known, provider)
            else:
                unknown.append(batch)
        shown = _shown_singly(api, listed, unknown, spec)
        for batch in unknown:
            info, filename = shown.get(batch.id, (batch, None))
            marks = read_marks(info.metadata, filename)
            if spec is None or marks is None or marks.order == spec.identity or _attempt_of(workflow, info):
                changed.append(add_if_ours(workflow, provider, info, filename))
            else:
                others.append((marks.order, info.id))
        registry.set_looked_through(provider.account, others)
    return [job for job in changed if job is not None]


def _warn_of_cut_list(workflow: Workflow, provider: Provider, count: int) -> None:
    """Warn that an account has more batches than its list shows."""
    listed = count_text(count, "batch", "is")
    workflow.reporter.warn(f"{provider}'s list ends too early: only {listed} shown{_unseen(provider)}")


def _unseen(provider: Provider) -> str:
    """Return the consequence if the list of an account cannot be read, or not to its end."""
    return (
        "; batches from another machine or a lost registry may not be found, and would be paid again; if you know"
        f" the batch's id, `obatch status ID -p {provider.name}` adds it first"
    )


def _shown_singly(
    api: BatchApi, listed: list[BatchInfo], unknown: list[BatchInfo], spec: JobSpec | None
) -> dict[str, tuple[BatchInfo, str | None]]:
    """Ask for the unknown batches whose marks the list may hide; return each with the name of its input file, by id.

    To ask for each takes long in a large account. So if the list shows some metadata, only those are asked for whose
    size fits the spec, and the rest if one of these is ours, or without a spec if the list shows no marks at all.
    """
    newest = max((batch.created_at or 0.0 for batch in listed), default=0.0)
    hidden = [
        batch
        for batch in unknown
        if read_marks(batch.metadata) is None and (batch.created_at or newest) > newest - _KEPT
    ]
    sizes = set() if spec is None else _sizes(spec)
    likely = [batch for batch in hidden if is_ours(batch.metadata) or batch.counts.total in sizes]
    shown = {batch.id: _with_marks(api, batch) for batch in likely}
    lists_no_marks = all(read_marks(batch.metadata) is None for batch in listed)
    if (
        not any(batch.metadata for batch in listed)
        or (spec is None and lists_no_marks)
        or any(_ours(*shown[batch.id]) and not is_ours(batch.metadata) for batch in likely)
    ):
        shown |= {batch.id: _with_marks(api, batch) for batch in hidden if batch.id not in shown}
    return shown


def _ours(info: BatchInfo, filename: str | None) -> bool:
    """Return whether a batch with this file name is ours."""
    return is_ours(info.metadata, filename)


def _sizes(spec: JobSpec) -> set[int]:
    """Return how many requests a batch of this spec may show; 0 stands for a batch that does not say."""
    return {0, spec.batch_file.report.requests, *(piece.requests for piece in spec.batch_file.slices)}


def _with_marks(api: BatchApi, batch: BatchInfo) -> tuple[BatchInfo, str | None]:
    """Return a batch that was listed without metadata as the provider shows it, and the name of its input file.

    Some servers drop metadata, and some leave it, or a part of it, out of lists only.
    """
    filename = _input_filename(api, batch)
    if read_marks({}, filename) is None:
        batch = _shown(lambda: api.get(batch.id)) or batch
    return batch, filename


def _get(workflow: Workflow, provider: Provider, batch_id: str) -> tuple[BatchInfo, str | None]:
    """Ask for a batch, and for the name of its input file if the batch itself has no marks. Raises BatchError."""
    api = workflow.connections.to(provider)
    info = api.get(batch_id)
    return info, None if read_marks(info.metadata) else _input_filename(api, info)


def _input_filename(api: BatchApi, batch: BatchInfo) -> str | None:
    """Return the name of a batch's input file; None if the provider does not show it."""
    file_id = batch.input_file_id
    file = _shown(lambda: api.file(file_id)) if file_id else None
    return file.filename if file else None


def _shown(ask: Callable[[], _T]) -> _T | None:
    """Return what the provider answers; None if it refuses. Raises UnreachableError: no answer says nothing."""
    try:
        return ask()
    except UnreachableError:
        raise
    except BatchError:
        return None


def job_with(workflow: Workflow, provider: Provider, batch: BatchInfo) -> JobRecord | None:
    """Return the job that has a batch of this provider, or None. Another provider's batch may have the same id."""
    for job in workflow.registry.by_batch(batch.id):
        part = next(part for part in job.parts if part.batch_id == batch.id)
        files = {part.file_id, batch.input_file_id} - {None}
        if provider.is_at(job.base_url) and len(files) < 2:  # noqa: PLR2004 - the same file, or it is not shown
            return job
    return None


def _merge_account(workflow: Workflow, job: JobRecord, provider: Provider) -> None:
    """Store that a provider reaches the account of a job whose batch it lists: its key may have moved, for example."""
    account = workflow.account(provider)
    if job.account != account and provider.is_at(job.base_url):
        workflow.registry.merge_accounts(provider.account, job.account)


def _stop_if_unidentified(workflow: Workflow, spec: JobSpec, account: str) -> None:
    """Raise UncertainError if a batch of ours may be one of this spec, and its marks do not say."""
    sizes = _sizes(spec)
    for job in workflow.registry.unidentified(account, str(spec.batch_file.report.endpoint)):
        if job.status != "failed" and job.counts.total in sizes:
            raise UncertainError(
                f"batch {job.batch_ids[0]} at {spec.provider} was created by obatch, but does not show from which"
                " input: it may be this one; nothing was sent",
                hint=f"`obatch status {job.id}` shows it; --again sends this input anyway",
            )


def find_job(workflow: Workflow, reference: str | None, provider: str | Provider | None = None) -> JobRecord:
    """Return a job by its number, its name or a batch id; the one used last for None.

    An unknown batch becomes a job: it is looked for at `provider`, or, if the id begins with `batch`, at every
    provider whose key is set. Raises NotFoundError, also if the job is at another provider than `provider`.
    """
    try:
        return known_job(workflow, reference, provider)
    except _ElsewhereError:
        raise
    except NotFoundError:
        if reference is None or not (provider or reference.startswith("batch")):
            raise
    with until(deadline_in(LOOK_SECONDS)):
        job = adopt(workflow, reference, get_provider_by_name(provider) if isinstance(provider, str) else provider)
    workflow.reporter.note(f"batch {reference} is now job {job.id}")
    return job


class _ElsewhereError(NotFoundError):
    """The job is at another provider than the one that was named."""


def known_job(workflow: Workflow, reference: str | None, provider: str | Provider | None = None) -> JobRecord:
    """Return a job as `find_job` does, but ask no provider. Raises NotFoundError."""
    job = workflow.registry.find(reference)
    if provider is None or _is_at(workflow, job, provider):
        return job
    for other in workflow.registry.by_batch(reference) if reference in job.batch_ids else ():
        if _is_at(workflow, other, provider):  # two providers may give two batches the same id
            return other
    if reference in job.batch_ids:
        raise NotFoundError(f"no batch {reference} of {provider} is known here", hint="`obatch ls` shows the jobs")
    raise _ElsewhereError(f"job {job.id} is at {job.provider}, not at {provider}", hint="leave out the provider")


def _is_at(workflow: Workflow, job: JobRecord, provider: str | Provider) -> bool:
    """Return whether a job is at a provider, by its name or its account. Raises UnknownProviderError.

    A job of imported results is at none: the name says where to send the rest.
    """
    if job.base_url == IMPORTED_URL or str(provider if isinstance(provider, str) else provider.name) == job.provider:
        return True
    profile = get_provider_by_name(provider) if isinstance(provider, str) else provider
    return workflow.account(profile) == job.account


def adopt(workflow: Workflow, batch_id: str, provider: Provider | None = None) -> JobRecord:
    """Add a batch that was made elsewhere as a job, or return the job that has it already.

    Without `provider` every provider whose key is set is asked. Raises NotFoundError, and with `provider` its ApiError.
    """
    known = [job for job in workflow.registry.by_batch(batch_id) if provider is None or provider.is_at(job.base_url)]
    if known:
        return known[0]
    asked = [provider] if provider else askable_providers()
    for candidate in asked:
        try:
            info, filename = _get(workflow, candidate, batch_id)
        except BatchError:
            if provider or is_over():
                raise
            continue
        number = add_if_ours(workflow, candidate, info, filename)
        return _add_foreign(workflow, candidate, info) if number is None else workflow.registry.job(number)
    names = ", ".join(str(p.name) for p in asked) or "no provider, since no key is set"
    raise NotFoundError(f"no batch {batch_id} (asked: {names})", hint="name its provider with -p")


def _add_foreign(workflow: Workflow, provider: Provider, info: BatchInfo) -> JobRecord:
    """Store a batch that was made elsewhere as a new job with one part."""
    job = replace(_job(workflow, provider, info, new_token()), identity=f"{FOREIGN}{info.id}")
    part = PartRecord(0, 1, PartState.RUNNING, requests=info.counts.total, file_id=info.input_file_id, batch_id=info.id)
    job, _ = workflow.registry.add(job, [part])
    workflow.store_status(job.parts[0], info)
    return workflow.registry.job(job.id)


def _attempt_of(workflow: Workflow, info: BatchInfo) -> tuple[JobRecord, PartRecord] | None:
    """Return the job and the part whose open attempt created a batch, or None."""
    for part in workflow.registry.creating():
        job = workflow.registry.job(part.job)
        if attempt_of(job, part).made(info):
            return job, part
    return None


def add_if_ours(workflow: Workflow, provider: Provider, info: BatchInfo, filename: str | None) -> int | None:
    """Add a batch that the registry does not know, and return its job; None if the batch is not ours."""
    attempt = _attempt_of(workflow, info)
    if attempt is not None:
        workflow.adopt_batch(attempt[1], info, audits=AUDITS)
        _merge_account(workflow, attempt[0], provider)
        return attempt[0].id
    if (stored := job_with(workflow, provider, info)) is not None:
        return stored.id  # the process whose attempt it was has stored it since it was listed
    if not is_ours(info.metadata, filename) or was_refused(info) is not None:
        return None  # a refused batch never ran, and its part was sent again or will be
    marks = read_marks(info.metadata, filename)
    # The mark becomes the name of a folder.
    uid = marks.job if marks else hashlib.sha256(info.id.encode()).hexdigest()[:32]
    known = workflow.registry.by_uid(uid)
    part = PartRecord(
        job=0,
        number=max(1, marks.part) if marks else 1,
        state=PartState.RUNNING,
        requests=info.counts.total,
        token=token_of(info.metadata),
        file_id=info.input_file_id,
        batch_id=info.id,
    )
    if known is None:
        known, _ = workflow.registry.add(_job(workflow, provider, info, uid, marks), [part], again=True)
    else:
        taken = {other.number for other in known.parts}
        free = part.number if part.number not in taken else max(taken) + 1
        workflow.registry.add_parts(known.id, [replace(part, number=free)])
        _merge_account(workflow, known, provider)
    workflow.store_batch(workflow.registry.job(known.id), info)
    return known.id


def _rows(info: BatchInfo, uid: str, marks: Marks | None) -> tuple[int, int]:
    """Return how many rows a batch's job has, and how many are not sent, from the job's folder or the batch's marks."""
    known = job_folder.rows_known(uid)
    sent, rows = (marks.sent, marks.rows) if marks else (0, 0)
    if known is None:
        return (rows, rows - sent) if rows > sent else (info.counts.total, 0)
    return known[0], known[1] or max(0, rows - sent)


def _job(workflow: Workflow, provider: Provider, info: BatchInfo, uid: str, marks: Marks | None = None) -> JobRecord:
    """Return the record of a job that the registry has lost, or of a batch that was made elsewhere."""
    requests, skipped = _rows(info, uid, marks)
    return JobRecord(
        id=0,
        identity=marks.order if marks else f"{UNIDENTIFIED}{info.id}",
        uid=uid,
        provider=str(provider.name or provider.base_url),
        base_url=str(provider.base_url),
        account=workflow.account(provider),
        endpoint=info.endpoint or "",
        window=provider.completion_window,
        created_at=info.created_at or time.time(),
        metadata=own_metadata(info.metadata),
        model=info.model,
        requests=requests,
        input_name=job_folder.input_name_of(uid),
        skipped=skipped,
        output_seconds=provider.output_seconds,
    )
