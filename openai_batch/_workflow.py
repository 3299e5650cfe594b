"""The life of a job: submit, follow, cancel, adopt. What a killed process left half done is gone on with.

Each step's row is written before the act it speaks of (`_jobs`), so every method here may be called again
at any time, from any process, and continues where the last one stopped.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from . import _cancel, _jobfiles, _submit
from ._api import BatchApi
from ._emergency import keep_id
from ._jobs import (
    COLLECTED,
    CREATING,
    ENDED,
    PLANNED,
    RUNNING,
    UPLOADED,
    UPLOADING,
    WAITING,
    Job,
    Part,
)
from ._patience import Poller, job_delays
from ._queue import EnqueuedTokens, is_refusal, was_refused
from ._registry import MovedOnError
from ._report import Reporter
from .errors import (
    ApiError,
    AuthError,
    BatchError,
    NotFoundError,
    RegistryError,
    UncertainError,
    UnreachableError,
)
from .providers import askable_providers, get_provider_by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._batchinfo import BatchInfo
    from ._order import Order
    from ._profile import Provider
    from ._registry import Registry

AUDITS = 3
"""Looks at the provider's list after an attempt whose answer was lost."""


class Workflow:
    """Everything that can be done with jobs. It holds the registry and one connection a provider, no state of jobs."""

    def __init__(self, registry: Registry, reporter: Reporter | None = None) -> None:
        self.registry = registry
        self.reporter = reporter or Reporter()
        self._apis: dict[str, BatchApi] = {}

    def submit(
        self, order: Order, *, again: bool = False, resubmit_uncertain: bool = False, check_remote: bool = False
    ) -> tuple[Job, bool]:
        """Start an order's job, or go on with the one that it started before; tell whether it is new.

        `check_remote` looks through the provider's batches first, for one that another machine has started.
        Raises what the provider refuses with; UncertainError if an earlier attempt cannot be told.
        """
        checked, provider = order.checked, order.provider
        report = checked.report
        job = Job(
            id=0,
            identity=order.identity,
            uid=_submit.new_token(),
            provider=str(provider.name or provider.base_url),
            base_url=str(provider.base_url),
            endpoint=str(report.endpoint),
            window=order.window or provider.completion_window,
            created_at=time.time(),
            name=order.name,
            model=report.model,
            metadata=order.metadata,
            input_path=str(checked.origin) if checked.origin else None,
            input_sha256=checked.sha256,
            input_bytes=checked.size,
            requests=report.requests,
            origin=order.origin,
            spared=order.sparing.count if order.sparing else 0,
        )
        parts = [Part.of(piece, 0, number) for number, piece in enumerate(checked.slices, 1)]
        api = self._apis[job.base_url] = self._new_api(provider)
        api.make_ready()  # without a key, or a local server, there is no job either
        if check_remote or not again:
            self.look_back(provider, always=check_remote)
        job, new = self.registry.add(job, parts, again=again, earlier=order.earlier)
        with self._alone(job):
            if not new:
                job = self._filled(self._known_again(job, order), parts)
            if not new and not _jobfiles.has_ids(job) and all(part.state == PLANNED for part in job.parts):
                # Killed before its files were kept; today's plan may differ, as earlier jobs may have more answers.
                job = self.registry.plan_anew(job, parts, order.sparing.count if order.sparing else 0)
            _jobfiles.keep(job, checked, order.sparing)
            return self._advance(self.registry.job(job.id), resubmit_uncertain=resubmit_uncertain), new

    def advance(self, job: Job, *, resubmit_uncertain: bool = False) -> Job:
        """Send what of a job is not sent yet, and return the job."""
        if job.submitted:
            return job
        with self._alone(job):
            return self._advance(self.registry.job(job.id), resubmit_uncertain=resubmit_uncertain)

    def extend(self, job: Job, plan: Callable[[], list[Part]]) -> Job:
        """Add the parts that `plan` makes to an ended job, send them, and return the job.

        Raises MovedOnError if another process has extended the job since it was looked at.
        """
        with self._alone(job):
            if len(self.registry.job(job.id).parts) != len(job.parts):
                raise MovedOnError(f"job {job.id} is being sent again already", hint=f"obatch wait {job.id}")
            parts = plan()
            self.registry.set_job(job.id, succeeded=None)  # what was collected is not all that there is any more
            for part in parts:
                self.registry.add_part(part)
            return self._advance(self.registry.job(job.id), resubmit_uncertain=False)

    def refresh(self, job: Job, *, once: bool = False) -> Job:
        """Ask the provider how the job's batches stand, and write that down. Nothing is sent or created.

        A part whose create was never answered is looked for once. `once` is for callers that try again themselves.
        """
        for part in job.parts:
            if part.batch_id and part.state == RUNNING:
                self._look(job, part, once=once)
            if part.state == CREATING:
                with contextlib.suppress(ApiError):
                    found = _submit.find(self.api(job), self.attempt(job, part))
                    if found is not None:
                        self.settle(part, found)
            if part.batch_id and part.audits:
                self._audit(job, part)
        job = self.registry.job(job.id)
        self.reporter.polled(job)
        return job

    def _look(self, job: Job, part: Part, *, once: bool) -> None:
        info = self.api(job).get(str(part.batch_id), once=once)
        words = was_refused(info)
        with contextlib.suppress(MovedOnError):  # then another process has seen it too
            # A part that was found again may have been sent again since, and a cancelled one is not wanted any more.
            if words is None or part.sha256 is None or part.status == "cancelling":
                self._note(part, info)
                return
            with self._alone(job):
                self._requeue(job, part, words, EnqueuedTokens(self.registry, self.api(job).provider))

    def wait(self, job: Job, *, timeout: float | None = None) -> Job:
        """Follow a job until every batch has ended; errors that pass are waited out.

        `timeout` is in seconds. Raises WaitTimeoutError when it has passed; the job goes on.
        """
        poller = Poller(job_delays(self.api(job).provider), self.reporter.warn, timeout)
        while not job.ended:
            with poller.attempt():
                job = self.look(job)
            if not job.ended:
                time.sleep(poller.next_delay(f"job {job.id}", job.status, f"obatch wait {job.id}"))
        return job

    def look(self, job: Job) -> Job:
        """Send what of a job is not sent yet, ask once how it stands, and return it: for who looks again and again."""
        try:
            job = self.refresh(self.advance(job), once=True)
            if job.waiting:
                self._look_around(job)
        except AuthError:
            self._apis.pop(job.base_url).close()  # the next look reads the key anew
            raise
        return job

    def _look_around(self, job: Job) -> None:
        """Ask for the batches of other jobs that take the room which this one waits for: nobody else may do so."""
        for part in self.registry.running(job.base_url, job.model, time.time()):
            if part.job != job.id:
                try:
                    self._look(self.registry.job(part.job), part, once=True)
                except UnreachableError:
                    raise
                except (ApiError, NotFoundError):
                    continue  # this concerns that batch alone

    def withdraw(self, job: Job, *, resubmit_uncertain: bool = False) -> Job:
        """See to it that what of a job is not sent yet never will be, and return the job.

        Raises UncertainError, with all else withdrawn, where that cannot be told of a part; with
        `resubmit_uncertain` such a part is given up, whatever became of its batch.
        """
        if job.submitted:
            return job
        with self._alone(job):
            return _cancel.withdraw(self, self.registry.job(job.id), resubmit_uncertain=resubmit_uncertain)

    def cancel(self, job: Job, *, give_up: bool = False) -> Job:
        """Ask the provider to stop a job's batches; what they have finished is kept, and billed.

        What is not sent yet never will be. One batch that cannot be cancelled does not keep the others running: its
        error is raised at the end, as is UncertainError for a part of which nobody knows whether it has a batch,
        unless one is to `give_up` looking for that.
        """
        return _cancel.cancel(self, job, give_up=give_up)

    def adopt(self, batch_id: str, provider: Provider | None = None) -> Job:
        """Make a batch that was made elsewhere a job of this registry; the job that has it already otherwise.

        Without `provider` every provider that has a key is asked. Raises NotFoundError.
        """
        known = self.registry.by_batch(batch_id)
        if known is not None:
            return known
        asked = [provider] if provider else askable_providers()
        for candidate in asked:
            try:
                info = self.connect(candidate).get(batch_id)
            except BatchError:
                if provider:
                    raise
                continue
            return self._take_in(candidate, info)
        names = ", ".join(str(p.name) for p in asked) or "no provider, since no key is set"
        raise NotFoundError(f"no batch {batch_id} (asked: {names})", hint="name its provider with -p")

    def api(self, job: Job) -> BatchApi:
        """Return the connection to a job's provider. Raises UnknownProviderError if its profile is gone."""
        if job.base_url not in self._apis:
            provider = get_provider_by_name(job.provider)
            if not provider.same_place(job.base_url):
                # The batch is where it was made, whatever the profile says today; the key stays with the profile.
                raise NotFoundError(
                    f"job {job.id} runs at {job.base_url}, and provider {job.provider} is now {provider.base_url}",
                    hint=f"give {job.base_url} a profile of its own",
                )
            self._apis[job.base_url] = self._new_api(provider)
        return self._apis[job.base_url]

    def connect(self, provider: Provider) -> BatchApi:
        """Return the connection to a provider."""
        return self._apis.setdefault(str(provider.base_url), self._new_api(provider))

    def settle(self, part: Part, info: BatchInfo) -> None:
        """Write down that a part's attempt, whose answer was lost, made this batch."""
        self._adopt_part(part, info, audits=AUDITS)

    def note_batch(self, job: Job, info: BatchInfo) -> None:
        """Write down what the provider shows of one of a job's batches."""
        for part in job.parts:
            if part.batch_id == info.id:
                self._note(part, info)

    def _new_api(self, provider: Provider) -> BatchApi:
        return BatchApi(provider, starting=self.reporter.progress)

    def look_back(self, provider: Provider, *, always: bool = False) -> None:
        """Take in what the provider has of ours before a new batch is made: the order may be one of those.

        Done `always`, or once after a registry was damaged or deleted.
        """
        if not always and (not self.registry.lost_before() or self.registry.recovered(str(provider.base_url))):
            return
        from ._recover import recover

        self.reporter.note(f"looking for batches of ours at {provider} first")
        recover(self, [provider], strict=True)

    def _known_again(self, job: Job, order: Order) -> Job:
        """Give a job that was found again what its input tells."""
        if job.input_sha256 is None:
            checked = order.checked
            self.registry.set_job(
                job.id,
                input_path=str(checked.origin) if checked.origin else None,
                input_sha256=checked.sha256,
                input_bytes=checked.size,
                requests=checked.report.requests,
                spared=job.spared or (order.sparing.count if order.sparing else 0),
            )
        return self.registry.job(job.id)

    def _filled(self, job: Job, planned: list[Part]) -> Job:
        """Give a job that was found again its places in the input, and the parts that were never sent."""
        known = {part.number: part for part in job.parts}
        if all(part.sha256 for part in job.parts) or any(
            known[part.number].requests not in (0, part.requests) for part in planned if part.number in known
        ):
            return job
        for part in planned:
            if part.number in known:
                places = {
                    name: getattr(part, name) for name in ("offset", "length", "source", "first_row", "ids_offset")
                }
                self.registry.set_part(known[part.number], requests=part.requests, sha256=part.sha256, **places)
            else:
                self.registry.add_part(replace(part, job=job.id))
        return self.registry.job(job.id)

    def _advance(self, job: Job, *, resubmit_uncertain: bool) -> Job:
        queue = EnqueuedTokens(self.registry, self.api(job).provider)
        job = self._cut(job, queue)
        for part in job.parts:
            if part.state in WAITING and not queue.has_room(job, part):
                break  # the others wait behind it, in the order of the input
            if not self._walk(job, part, queue, resubmit_uncertain=resubmit_uncertain):
                break
        return self.registry.job(job.id)

    def _cut(self, job: Job, queue: EnqueuedTokens) -> Job:
        """Cut the parts that the provider's queue would never have room for."""
        for part in job.parts:
            room = queue.room_in_bytes(job, part) if part.state in WAITING else None
            if room is not None and part.sha256 is not None:
                pieces = _jobfiles.cut_part(self.registry.job(job.id), part, room)
                self.registry.cut(part, pieces)
                self.reporter.note(
                    f"job {job.id}: part {part.number} is larger than {queue.provider}'s queue, and is sent in"
                    f" {len(pieces)} parts"
                )
        return self.registry.job(job.id)

    def _walk(self, job: Job, part: Part, queue: EnqueuedTokens, *, resubmit_uncertain: bool) -> bool:
        """Take one part from where it stands to a running batch; tell whether there was room for it."""
        api = self.api(job)
        if part.state in (PLANNED, UPLOADING):
            part = self._upload(api, job, part)
        if part.state == CREATING:
            part = self.look_for(job, part, resubmit_uncertain=resubmit_uncertain)
        if part.state == UPLOADED:
            try:
                self._create(api, job, part)
            except ApiError as exc:
                if not is_refusal(exc):
                    raise
                self._requeue(job, part, str(exc), queue)
                return False
        return True

    def _requeue(self, job: Job, part: Part, words: str, queue: EnqueuedTokens) -> None:
        """Put a part back whose batch the provider did not take, because its queue is full; nothing is paid for it."""
        part = self.registry.set_part(
            part, same_batch=True, state=UPLOADED, batch_id=None, status=None, faults=(), ended_at=None
        )
        ours = queue.learn(job, part, words)
        self.registry.set_part(part, refusals=0 if ours else part.refusals + 1)
        self.reporter.note(f"{queue.provider}'s queue is full; the rest of job {job.id} waits ({words})")

    def _upload(self, api: BatchApi, job: Job, part: Part) -> Part:
        token = _submit.new_token()
        part = self.registry.set_part(part, expect=part.state, state=UPLOADING, token=token)
        report = self.reporter.progress
        what = "upload" if len(job.parts) == 1 else f"upload {part.number} of {len(job.parts)}"
        with _jobfiles.opened(job, part, lambda done: report(what, done, part.length)) as content:
            file = api.upload(content, f"obatch-{token}-p{part.number:04}.jsonl")
        return self.registry.set_part(part, expect=UPLOADING, state=UPLOADED, file_id=file.id)

    def _create(self, api: BatchApi, job: Job, part: Part) -> None:
        part = self.registry.set_part(
            part, expect=UPLOADED, state=CREATING, token=_submit.new_token(), attempted_at=time.time()
        )
        unclear: list[str] = []

        def note(text: str) -> None:
            unclear.append(text)
            self.reporter.warn(text)

        try:
            info = _submit.create(api, self.attempt(job, part), note=note)
        except UncertainError:
            raise
        except BatchError:
            self.registry.set_part(part, expect=CREATING, state=UPLOADED)  # certainly not created
            raise
        try:
            self._adopt_part(part, info, audits=AUDITS if unclear else part.audits)
        except RegistryError as exc:
            raise keep_id(job, info, exc) from exc

    def look_for(self, job: Job, part: Part, *, resubmit_uncertain: bool) -> Part:
        """Find out what became of a create whose answer was lost with the process that sent it."""
        api, attempt = self.api(job), self.attempt(job, part)
        if api.provider.idempotent_create:
            return self._adopt_part(part, _submit.create(api, attempt))  # the server answers the same key once
        self.reporter.note(f"job {job.id}: looking for the batch of an attempt that was interrupted")
        try:
            info = _submit.reconcile(api, attempt)
        except UncertainError:
            if not resubmit_uncertain:
                raise
            return self.registry.set_part(part, expect=CREATING, state=UPLOADED, audits=AUDITS)
        return self._adopt_part(part, info, audits=AUDITS)

    def _adopt_part(self, part: Part, info: BatchInfo, *, audits: int = 0) -> Part:
        try:
            part = self.registry.set_part(part, expect=CREATING, state=RUNNING, batch_id=info.id, audits=audits)
        except RegistryError:
            known = self.registry.by_batch(info.id)
            if known is None:
                raise
            part = next(p for p in known.parts if p.batch_id == info.id)  # another process has just found it
        return self._note(part, info)

    def _audit(self, job: Job, part: Part) -> None:
        """Look whether an attempt whose answer was lost made a second batch after all, and say so at once."""
        with contextlib.suppress(ApiError):
            for batch in _submit.find_all(self.api(job), self.attempt(job, part)):
                if batch.id != part.batch_id and not batch.finished:
                    self.reporter.warn(
                        f"batch {batch.id} was created too, late, from the same attempt as {part.batch_id}; "
                        f"if it is not wanted: obatch cancel {batch.id} -p {job.provider}"
                    )
            self.registry.set_part(part, audits=part.audits - 1)

    def attempt(self, job: Job, part: Part) -> _submit.Attempt:
        """Return a part's latest attempt, with the marks that its batch bears."""
        return _submit.Attempt(
            file_id=str(part.file_id),
            endpoint=job.endpoint,
            window=job.window,
            token=str(part.token),
            at=part.attempted_at or 0.0,
            metadata=job.metadata,
            marks={
                _submit.JOB_MARK: job.uid,
                _submit.ORDER_MARK: job.identity,
                **({_submit.ROWS_MARK: f"{job.requests - job.spared}/{job.requests}"} if job.spared else {}),
                _submit.PART_MARK: f"{part.number}/{len(job.parts)}",
            },
        )

    def _note(self, part: Part, info: BatchInfo) -> Part:
        """Write down what the provider shows of a part's batch, unless the part has another one by now."""
        return self.registry.set_part(
            part,
            same_batch=True,
            state=(COLLECTED if part.state == COLLECTED else ENDED) if info.finished else part.state,
            status=info.status,
            counts=info.counts,
            output_file_id=info.output_file_id,
            error_file_id=info.error_file_id,
            created_at=info.created_at,
            expires_at=info.expires_at,
            ended_at=info.ended_at or (time.time() if info.finished else None),
            checked_at=time.time(),
            faults=info.errors,
            usage=info.usage,
        )

    def _take_in(self, provider: Provider, info: BatchInfo) -> Job:
        job = Job(
            id=0,
            identity=f"batch:{info.id}",
            uid=_submit.new_token(),
            provider=str(provider.name or provider.base_url),
            base_url=str(provider.base_url),
            endpoint=info.endpoint or "",
            window=provider.completion_window,
            created_at=info.created_at or time.time(),
            metadata=info.metadata,
            model=info.model,
            requests=info.counts.total,
        )
        part = Part(0, 1, RUNNING, requests=info.counts.total, file_id=info.input_file_id, batch_id=info.id)
        job, _ = self.registry.add(job, [part])
        self._note(job.parts[0], info)
        return self.registry.job(job.id)

    def _alone(self, job: Job) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of a job while its parts are walked; a killed one's lock is gone with it."""
        return _jobfiles.alone(
            job, lambda: self.reporter.note(f"another obatch is sending job {job.id}; waiting for it")
        )
