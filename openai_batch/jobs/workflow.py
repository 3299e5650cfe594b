"""The steps of a job's parts: upload, create, poll. What a killed process left half done goes on from there.

Each step is written to the registry before it is taken (see `jobs/store/records`), so every method here may be called
again at any time, from any process, and continues where the last one stopped. The use cases stand above this file:
`jobs/submit`, `jobs/cancel`, `jobs/recover`, `jobs/retry`, `jobs/collect`.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from openai_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    NotFoundError,
    RegistryError,
    UncertainError,
    UnreachableError,
)
from openai_batch.providers import create_once
from openai_batch.providers.polling import Poller, job_delays

from .connections import Connections
from .keep_batch_id import keep_id
from .reporter import Reporter
from .store import job_folder
from .store.records import (
    COLLECTED,
    CREATING,
    ENDED,
    PLANNED,
    RUNNING,
    UPLOADED,
    UPLOADING,
    WAITING,
    JobRecord,
    PartRecord,
)
from .store.registry import MovedOnError
from .token_limit import EnqueuedTokens, is_refusal, was_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_batch.providers.api import BatchApi
    from openai_batch.providers.batch_info import BatchInfo

    from .store.registry import Registry

AUDITS = 3
"""How often the provider's list is looked at after an attempt whose answer was lost."""


class Workflow:
    """What a use case works with: the registry, the connections and the reporter. It holds no state of jobs."""

    def __init__(self, registry: Registry, reporter: Reporter | None = None) -> None:
        self.registry = registry
        self.reporter = reporter or Reporter()
        self.connections = Connections(self.reporter.progress)

    def close(self) -> None:
        """Close the connections and the registry."""
        self.connections.close()
        self.registry.close()

    def api(self, job: JobRecord) -> BatchApi:
        """Return the connection to a job's provider. Raises what `Connections.of` raises."""
        return self.connections.of(job)

    def alone(self, job: JobRecord) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of a job while its parts are sent; a killed process's lock is gone with it."""
        return job_folder.alone(
            job, lambda: self.reporter.note(f"another obatch is sending job {job.id}; waiting for it")
        )

    def advance(self, job: JobRecord, *, resubmit_uncertain: bool = False) -> JobRecord:
        """Send the parts of a job that are not sent yet, and return the job."""
        if job.submitted:
            return job
        with self.alone(job):
            return self.send_parts(self.registry.job(job.id), resubmit_uncertain=resubmit_uncertain)

    def add_parts(self, job: JobRecord, plan: Callable[[], list[PartRecord]]) -> JobRecord:
        """Add the parts that `plan` makes to an ended job, send them, and return the job.

        Raises MovedOnError if another process has added parts since the job was read.
        """
        with self.alone(job):
            if len(self.registry.job(job.id).parts) != len(job.parts):
                raise MovedOnError(f"job {job.id} is being sent again already", hint=f"obatch wait {job.id}")
            parts = plan()
            self.registry.set_job(job.id, succeeded=None)  # what was collected is no longer everything
            for part in parts:
                self.registry.add_part(part)
            return self.send_parts(self.registry.job(job.id), resubmit_uncertain=False)

    def send_parts(self, job: JobRecord, *, resubmit_uncertain: bool) -> JobRecord:
        """Send the unsent parts, in the order of the input, while the provider has room. Call it within `alone`."""
        queue = EnqueuedTokens(self.registry, self.api(job).provider)
        job = self._split_large_parts(job, queue)
        for part in job.parts:
            if part.state in WAITING and not queue.has_room(job, part):
                break  # the later parts wait behind this one
            if not self._send(job, part, queue, resubmit_uncertain=resubmit_uncertain):
                break
        return self.registry.job(job.id)

    def refresh(self, job: JobRecord, *, once: bool = False) -> JobRecord:
        """Ask the provider for the status of the job's batches, and store it. Nothing is sent or created.

        A part whose create was never answered is looked for once. `once` turns off the client's own retries, for
        callers that ask again themselves.
        """
        for part in job.parts:
            if part.batch_id and part.state == RUNNING:
                self._poll_part(job, part, once=once)
            if part.state == CREATING:
                with contextlib.suppress(ApiError):
                    found = create_once.find(self.api(job), self.attempt_of(job, part))
                    if found is not None:
                        self.adopt_found(part, found)
            if part.batch_id and part.audits:
                self._check_for_second_batch(job, part)
        job = self.registry.job(job.id)
        self.reporter.polled(job)
        return job

    def poll(self, job: JobRecord) -> JobRecord:
        """Send what is not sent yet, ask once for the status, and return the job: one turn of a waiting loop."""
        try:
            job = self.refresh(self.advance(job), once=True)
            if job.waiting:
                self._poll_other_jobs(job)
        except AuthError:
            self.connections.drop(job.base_url)  # the next poll reads the key again
            raise
        return job

    def wait(self, job: JobRecord, *, timeout: float | None = None) -> JobRecord:
        """Wait until every batch of a job has ended, and return the job; errors that pass are waited out.

        `timeout` is in seconds. Raises WaitTimeoutError when it has passed; the job goes on.
        """
        poller = Poller(job_delays(self.api(job).provider), self.reporter.warn, timeout)
        while not job.ended:
            with poller.attempt():
                job = self.poll(job)
            if not job.ended:
                time.sleep(poller.next_delay(f"job {job.id}", job.status, f"obatch wait {job.id}"))
        return job

    def ended(self, job: JobRecord) -> JobRecord:
        """Return the job as it is now, if it has ended. Parts that wait for room are sent first.

        Raises BatchError if it still runs.
        """
        if not job.ended:
            job = self.refresh(self.advance(job))
        if not job.ended:
            raise BatchError(f"job {job.id} is still {job.status}", hint=f"obatch wait {job.id}")
        return job

    def attempt_of(self, job: JobRecord, part: PartRecord) -> create_once.Attempt:
        """Return a part's latest attempt to create a batch, with the marks that the batch bears."""
        return create_once.Attempt(
            file_id=str(part.file_id),
            endpoint=job.endpoint,
            window=job.window,
            token=str(part.token),
            at=part.attempted_at or 0.0,
            metadata=job.metadata,
            marks={
                create_once.JOB_MARK: job.uid,
                create_once.ORDER_MARK: job.identity,
                **({create_once.ROWS_MARK: f"{job.requests - job.skipped}/{job.requests}"} if job.skipped else {}),
                create_once.PART_MARK: f"{part.number}/{len(job.parts)}",
            },
        )

    def find_lost_batch(self, job: JobRecord, part: PartRecord, *, resubmit_uncertain: bool) -> PartRecord:
        """Find the batch of a create whose answer was lost together with the process that sent it.

        Raises UncertainError if it is not found, unless `resubmit_uncertain`: then the part may be sent again.
        """
        api, attempt = self.api(job), self.attempt_of(job, part)
        if api.provider.idempotent_create:
            return self._adopt_batch(part, create_once.create(api, attempt))  # the server answers the same key once
        self.reporter.note(f"job {job.id}: looking for the batch of an attempt that was interrupted")
        try:
            info = create_once.reconcile(api, attempt)
        except UncertainError:
            if not resubmit_uncertain:
                raise
            return self.registry.set_part(part, expect=CREATING, state=UPLOADED, audits=AUDITS)
        return self._adopt_batch(part, info, audits=AUDITS)

    def adopt_found(self, part: PartRecord, info: BatchInfo) -> None:
        """Store that the part's attempt, whose answer was lost, made this batch."""
        self._adopt_batch(part, info, audits=AUDITS)

    def store_batch(self, job: JobRecord, info: BatchInfo) -> None:
        """Store what the provider shows of one of a job's batches."""
        for part in job.parts:
            if part.batch_id == info.id:
                self.store_status(part, info)

    def store_status(self, part: PartRecord, info: BatchInfo) -> PartRecord:
        """Store what the provider shows of a part's batch. Raises MovedOnError if the part has another one by now."""
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

    def _send(self, job: JobRecord, part: PartRecord, queue: EnqueuedTokens, *, resubmit_uncertain: bool) -> bool:
        """Take one part from its present state to a running batch; return False if the provider had no room."""
        api = self.api(job)
        if part.state in (PLANNED, UPLOADING):
            part = self._upload(api, job, part)
        if part.state == CREATING:
            part = self.find_lost_batch(job, part, resubmit_uncertain=resubmit_uncertain)
        if part.state == UPLOADED:
            try:
                self._create(api, job, part)
            except ApiError as exc:
                if not is_refusal(exc):
                    raise
                self._put_back(job, part, str(exc), queue)
                return False
        return True

    def _upload(self, api: BatchApi, job: JobRecord, part: PartRecord) -> PartRecord:
        token = create_once.new_token()
        part = self.registry.set_part(part, expect=part.state, state=UPLOADING, token=token)
        report = self.reporter.progress
        what = "upload" if len(job.parts) == 1 else f"upload {part.number} of {len(job.parts)}"
        with job_folder.opened(job, part, lambda done: report(what, done, part.length)) as content:
            file = api.upload(content, create_once.upload_name(token, part.number))
        return self.registry.set_part(part, expect=UPLOADING, state=UPLOADED, file_id=file.id)

    def _create(self, api: BatchApi, job: JobRecord, part: PartRecord) -> None:
        # The attempt is on disk before the request leaves: after a kill, its token and file find the batch.
        part = self.registry.set_part(
            part, expect=UPLOADED, state=CREATING, token=create_once.new_token(), attempted_at=time.time()
        )
        unclear: list[str] = []

        def note(text: str) -> None:
            unclear.append(text)
            self.reporter.warn(text)

        try:
            info = create_once.create(api, self.attempt_of(job, part), note=note)
        except UncertainError:
            raise
        except BatchError:
            self.registry.set_part(part, expect=CREATING, state=UPLOADED)  # certainly not created
            raise
        try:
            self._adopt_batch(part, info, audits=AUDITS if unclear else part.audits)
        except RegistryError as exc:
            raise keep_id(job, info, exc) from exc

    def _adopt_batch(self, part: PartRecord, info: BatchInfo, *, audits: int = 0) -> PartRecord:
        try:
            part = self.registry.set_part(part, expect=CREATING, state=RUNNING, batch_id=info.id, audits=audits)
        except RegistryError:
            known = self.registry.by_batch(info.id)
            if known is None:
                raise
            part = next(p for p in known.parts if p.batch_id == info.id)  # another process has just found it
        return self.store_status(part, info)

    def _split_large_parts(self, job: JobRecord, queue: EnqueuedTokens) -> JobRecord:
        """Split the parts that are larger than the provider's queue."""
        for part in job.parts:
            room = queue.room_in_bytes(job, part) if part.state in WAITING else None
            if room is not None and part.sha256 is not None:
                pieces = job_folder.cut_part(self.registry.job(job.id), part, room)
                self.registry.cut(part, pieces)
                self.reporter.note(
                    f"job {job.id}: part {part.number} is larger than {queue.provider}'s queue, and is sent in"
                    f" {len(pieces)} parts"
                )
        return self.registry.job(job.id)

    def _put_back(self, job: JobRecord, part: PartRecord, message: str, queue: EnqueuedTokens) -> None:
        """Put a part back that the provider refused because its queue is full; nothing was paid for it."""
        part = self.registry.set_part(
            part, same_batch=True, state=UPLOADED, batch_id=None, status=None, faults=(), ended_at=None
        )
        ours = queue.learn(job, part, message)
        self.registry.set_part(part, refusals=0 if ours else part.refusals + 1)
        self.reporter.note(f"{queue.provider}'s queue is full; the rest of job {job.id} waits ({message})")

    def _poll_part(self, job: JobRecord, part: PartRecord, *, once: bool) -> None:
        info = self.api(job).get(str(part.batch_id), once=once)
        message = was_refused(info)
        with contextlib.suppress(MovedOnError):  # then another process has seen it too
            # A part that was found again may have been sent again since, and a cancelled one is not wanted any more.
            if message is None or part.sha256 is None or part.status == "cancelling":
                self.store_status(part, info)
                return
            with self.alone(job):
                self._put_back(job, part, message, EnqueuedTokens(self.registry, self.api(job).provider))

    def _poll_other_jobs(self, job: JobRecord) -> None:
        """Ask for the batches of other jobs that take the room which this one waits for: nobody else may do so."""
        for part in self.registry.running(job.base_url, job.model, time.time()):
            if part.job != job.id:
                try:
                    self._poll_part(self.registry.job(part.job), part, once=True)
                except UnreachableError:
                    raise
                except (ApiError, NotFoundError):
                    continue  # this concerns that batch alone

    def _check_for_second_batch(self, job: JobRecord, part: PartRecord) -> None:
        """Warn at once if an attempt whose answer was lost made a second batch after all."""
        with contextlib.suppress(ApiError):
            for batch in create_once.find_all(self.api(job), self.attempt_of(job, part)):
                if batch.id != part.batch_id and not batch.finished:
                    self.reporter.warn(
                        f"batch {batch.id} was created too, late, from the same attempt as {part.batch_id}; "
                        f"if it is not wanted: obatch cancel {batch.id} -p {job.provider}"
                    )
            self.registry.set_part(part, audits=part.audits - 1)
