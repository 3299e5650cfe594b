"""The steps of a job's parts: upload, create, poll.

Each step is written to the registry before it is done (see `jobs/store/records`). So every method here may be called
again at any time, from any process, and continues where a killed process stopped. The use cases call this file:
`jobs/submit`, `jobs/cancel`, `jobs/recover`, `jobs/retry`, `jobs/collect`.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from openai_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    InputError,
    NotFoundError,
    RegistryError,
    UncertainError,
    UnreachableError,
)
from openai_batch.files import paths
from openai_batch.files.locks import locked
from openai_batch.net.time_limit import deadline_in, is_over, seconds_left, until
from openai_batch.providers import create_once
from openai_batch.providers.attempt import new_token
from openai_batch.providers.polling import Poller, job_delays

from .advice import not_sent
from .attempts import attempt_of, created_before, marks_of
from .connections import Connections
from .direct import answer_part
from .keep_batch_id import keep_id
from .parallel import Stopped, in_parallel
from .reporter import Reporter, Together
from .store import job_folder
from .store.records import DONE, UNCERTAIN, UNSENT, JobRecord, PartRecord, PartState, known_files, lacks_output
from .store.registry import MovedOnError
from .token_limit import EnqueuedTokens, is_refusal, was_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.port import BatchApi
    from openai_batch.providers.provider import Provider

    from .store.registry import Registry

    _Result = TypeVar("_Result")

NEW_BATCH = 120.0  # seconds after its creation in which a provider may not find a batch yet
LATE_FILES = 120.0  # seconds to wait for the output file of a completed batch. Then the batch counts as ended.
LOOK_SECONDS = 300.0  # seconds to ask for the batches of one job

AUDITS = 3
"""How many more times the provider's list is checked for a second batch after the answer to a create was lost."""


class Workflow:
    """The registry, the connections and the reporter, and the steps that use them. It keeps no jobs in memory."""

    def __init__(self, registry: Registry, reporter: Reporter | None = None) -> None:
        self.registry: Registry = registry
        self.reporter: Reporter = reporter or Reporter()
        self.connections: Connections = Connections(registry.account, self.reporter.progress)
        self.parallel: int | None = None  # how many parts at a time, instead of what the profile says
        self.stopped: threading.Event = threading.Event()
        self._pauses: dict[tuple[int, int, float], float] = {}

    def close(self) -> None:
        """Close the connections and the registry."""
        self.connections.close()
        self.registry.close()

    def api(self, job: JobRecord) -> BatchApi:
        """Return the connection to a job's provider. Raises the errors of `Connections.of`."""
        return self.connections.of(job)

    def account(self, provider: Provider) -> str:
        """Return the account that requests to a provider go to."""
        return self.registry.account(provider.account)

    def alone(self, job: JobRecord) -> contextlib.AbstractContextManager[None]:
        """Lock a job, so that only one process sends its parts at a time. The lock of a killed process is released."""
        paths.private_dir(paths.job_dir(job.uid))
        note = f"another obatch is sending job {job.id}; waiting for it"
        return locked(paths.job_lock(job.uid), lambda: self.reporter.note(note), seconds=seconds_left(None))

    def go_on(self) -> None:
        """Raise Stopped if this is one of several threads, and another one has failed or was interrupted."""
        if self.stopped.is_set():
            raise Stopped

    @contextlib.contextmanager
    def for_parts(
        self,
        job: JobRecord,
        act: Callable[[Workflow, PartRecord], _Result],
        parts: Iterable[PartRecord],
        count: int,
        total: int | None = None,
    ) -> Iterator[Iterator[_Result]]:
        """Give `act(workflow, part)` for each part of a job, in order; several parts at a time, if the profile says so.

        There are at most `count` parts, with `total` bytes in all if that is known. `parts` are taken one by one, in
        this thread. The others have their own workflow.
        """
        provider = self.api(job).provider if count > 1 else None
        threads = 1 if provider is None or provider.is_local else min(count, self.parallel or provider.parallel)
        if threads == 1:
            yield (act(self, part) for part in parts)
            return
        self.api(job).make_ready()
        together = Together(self.reporter, total)

        @contextlib.contextmanager
        def worker(stopped: threading.Event) -> Iterator[Workflow]:
            own = Workflow(type(self.registry)(self.registry.path), together.of_thread())
            own.stopped, own._pauses = stopped, self._pauses
            with contextlib.closing(own.registry), self.connections.lent(own.registry.account) as own.connections:
                yield own

        with contextlib.closing(together), contextlib.closing(in_parallel(worker, act, parts, threads)) as results:
            yield results

    def advance(self, job: JobRecord) -> JobRecord:
        """Send the parts of a started job that are not sent yet, and return the job. Waiting never starts a job.

        Raises BatchError if no part of it was ever sent, and the errors of `send_parts`.
        """
        if job.submitted:
            return job
        with self.alone(job):
            job = self.registry.job(job.id)
            if job.not_sent:
                raise not_sent(replace(job, busy=False))
            return self.send_parts(job, resubmit_uncertain=False)

    def add_parts(
        self, job: JobRecord, plan: Callable[[], list[PartRecord]], *, unanswered: int, left_out: int
    ) -> JobRecord:
        """Add the parts that `plan` returns to an ended job, send them, and return the job.

        `unanswered` requests of the job have no answer, and the parts leave out `left_out` of them.
        Raises MovedOnError if another process has added parts since the job was read.
        """
        with self.alone(job):
            if len(self.registry.job(job.id).parts) != len(job.parts):
                raise MovedOnError(f"job {job.id} is already being sent again", hint=f"obatch wait {job.id}")
            parts = plan()
            # The collected results are no longer complete.
            self.registry.add_parts(job.id, parts, answered=None, unanswered=unanswered, left_out=left_out)
            return self.send_parts(self.registry.job(job.id), resubmit_uncertain=False)

    def send_parts(self, job: JobRecord, *, resubmit_uncertain: bool) -> JobRecord:
        """Send the unsent parts, in the order of the input, while the provider has room. Call it within `alone`.

        Raises ApiError if the provider refuses a part for another reason than a full queue, InputError if the input
        has changed, and UncertainError if it is unknown whether a batch was created.
        """
        queue = self._queue(job)
        job = queue.split_large_parts(job, self.reporter.note)
        unsent = [part for part in job.parts if part.state in (*UNSENT, PartState.CREATING) and not part.direct]
        # Where the queue may be full, the parts are sent one by one: the room depends on those before.
        count = 1 if queue.is_limited(job) else len(unsent)

        def send(own: Workflow, part: PartRecord) -> bool:
            return own.send(job, part, resubmit_uncertain=resubmit_uncertain)

        total = sum(part.length for part in unsent if part.state in (PartState.PLANNED, PartState.UPLOADING))
        with self.for_parts(job, send, queue.with_room(job, unsent), count, total) as sent:
            went_on = all(sent)  # a part that is refused, or that another process has cancelled, ends it
        job = self.registry.job(job.id)
        if not went_on and any(part.withdrawn for part in job.parts):
            self.reporter.note(f"job {job.id} was cancelled; nothing more of it is sent")
        for part in job.parts:
            if part.direct and part.state == PartState.PLANNED:
                answer_part(self.registry, self.api(job), job, part)
        return self.registry.job(job.id)

    def refresh(self, job: JobRecord, *, once: bool = False) -> JobRecord:
        """Ask the provider for the status of the job's batches, and store it. Nothing is sent or created.

        If the answer to a create was lost, its batch is looked for once. `once` turns off the client's own retries,
        for callers that ask again themselves. Raises ApiError if the provider does not answer.
        """
        running = [part for part in job.parts if part.batch_id and part.state == PartState.RUNNING]

        def poll(own: Workflow, part: PartRecord) -> None:
            own.poll_part(job, part, once=once)

        with until(deadline_in(LOOK_SECONDS)):
            with self.for_parts(job, poll, running, len(running)) as polled:
                list(polled)
            for part in job.parts:
                self._find_batches(job, part)
        job = self.registry.job(job.id)
        self.reporter.polled(job)
        return job

    def poll(self, job: JobRecord) -> JobRecord:
        """Send the unsent parts, ask once for the status, and return the job: one turn of a waiting loop."""
        try:
            job = self.refresh(self.advance(job), once=True)
            for part in job.parts:
                if part.batch_id and part.state == PartState.RUNNING:
                    self.api(job).keep_running(part.batch_id)
            if job.waiting:
                self._poll_other_jobs(job)
        except AuthError:
            self.connections.drop(job.account)  # the next poll reads the key again
            raise
        return job

    def wait(self, job: JobRecord, *, timeout: float | None = None) -> JobRecord:
        """Wait until every batch of a job has ended, and return the job.

        After a temporary error (`ApiError.passes`) it asks again later. Raises WaitTimeoutError when
        `timeout` seconds have passed; the job keeps running.
        """
        for ended, error in self.wait_all([job], timeout=timeout):
            if error is not None:
                raise error
            job = ended
        return job

    def wait_all(
        self, jobs: Iterable[JobRecord], *, timeout: float | None = None
    ) -> Iterator[tuple[JobRecord, BatchError | None]]:
        """Wait for several jobs at once, as `wait` does for one; yield each with the error that ended its waiting."""
        deadline = deadline_in(timeout)
        turns: list[tuple[float, int, JobRecord]] = [(0.0, place, job) for place, job in enumerate(jobs)]
        pollers: dict[int, Poller] = {}
        while turns:
            due, place, job = heapq.heappop(turns)
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if place not in pollers and not job.ended:
                    left = None if deadline is None else deadline - time.monotonic()
                    pollers[place] = Poller(job_delays(self.api(job).provider), self.reporter.warn, left)
                if not job.ended:
                    with pollers[place].attempt():
                        job = self.poll(job)
                if job.ended:
                    yield job, None
                    continue
                hint, unknown = f"obatch wait {job.id}", job.unknown_status
                delay = pollers[place].next_delay(
                    f"job {job.id}", job.status, hint, unknown=unknown, faults=job.troubles
                )
            except BatchError as exc:
                yield self.registry.job(job.id), exc
                continue
            heapq.heappush(turns, (time.monotonic() + delay, place, job))

    def ended(self, job: JobRecord) -> JobRecord:
        """Return the job as it is now, if it has ended. Nothing is sent.

        Raises BatchError if it has not ended, UncertainError if it is unknown whether a part has a batch.
        """
        if not job.ended:
            job = self.refresh(job)
        if job.ended:
            return job
        if job.not_sent and not job.busy:
            raise not_sent(job)
        if job.status == UNCERTAIN:
            raise UncertainError(f"job {job.id}: {job.reason}", hint=f"`obatch wait {job.id}` looks for its batch")
        raise BatchError(f"job {job.id} is still {job.status}", hint=f"obatch wait {job.id}")

    def find_lost_batch(self, job: JobRecord, part: PartRecord, *, resubmit_uncertain: bool) -> PartRecord:
        """Find the batch of a create request whose process was killed before the answer was stored.

        Raises UncertainError if it is not found, unless `resubmit_uncertain`: then the part may be sent again.
        """
        api, attempt = self.api(job), attempt_of(job, part)
        if api.provider.idempotent_create:
            # Such a server answers a second request with the same key by the first batch, so repeating is safe.
            return self.adopt_batch(part, create_once.create(api, attempt))
        self.reporter.note(f"job {job.id}: looking for the batch of an interrupted attempt")
        try:
            info = create_once.reconcile(api, attempt)
        except UncertainError:
            if not resubmit_uncertain or is_over():  # then the search may have been too short
                raise
            return self.registry.set_part(part, expect=PartState.CREATING, state=PartState.UPLOADED, audits=AUDITS)
        return self.adopt_batch(part, info, audits=AUDITS)

    def store_batch(self, job: JobRecord, info: BatchInfo) -> None:
        """Store the state of one of a job's batches as the provider shows it."""
        for part in job.parts:
            if part.batch_id == info.id:
                self.store_status(part, info)

    def store_status(self, part: PartRecord, info: BatchInfo) -> PartRecord:
        """Store the state of a part's batch and return the part. Raises MovedOnError if it has another batch now."""
        late_since = (part.late_since or time.time()) if lacks_output(info) else None
        ended = info.finished and (late_since is None or time.time() - late_since > LATE_FILES)
        if part.state in DONE and not ended:
            return part  # `info` is older than the part: another process has stored the end since
        output, error = known_files(part, info)
        return self.registry.set_part(
            part,
            expect=part.state,  # an answer that was slow to come never undoes the end of the batch
            same_batch=True,
            state=PartState.ENDED if ended and part.state == PartState.RUNNING else part.state,
            status="finalizing" if info.finished and not ended else info.status,
            late_since=late_since,
            counts=info.counts,
            output_file_id=output,
            error_file_id=error,
            created_at=info.created_at,
            expires_at=info.expires_at,
            ended_at=(info.ended_at or time.time()) if ended else None,
            checked_at=time.time(),
            faults=info.errors,
            usage=info.usage,
            phases=info.phases,
        )

    def send(self, job: JobRecord, part: PartRecord, *, resubmit_uncertain: bool) -> bool:
        """Bring one part from its current state to a running batch.

        Return False if the provider had no room, or another process has cancelled the job.
        """
        try:
            return self._send_part(job, part, resubmit_uncertain=resubmit_uncertain)
        except MovedOnError:
            if not self.registry.part(part).withdrawn:
                raise
            return False
        except (ApiError, AuthError, InputError, NotFoundError, UncertainError) as exc:
            self.registry.set_part(part, last_error=str(exc))
            raise

    def _send_part(self, job: JobRecord, part: PartRecord, *, resubmit_uncertain: bool) -> bool:
        api = self.api(job)
        if part.state in (PartState.PLANNED, PartState.UPLOADING):
            part = self._upload(api, job, part)
        self.go_on()
        if part.state == PartState.CREATING:
            part = self.find_lost_batch(job, part, resubmit_uncertain=resubmit_uncertain)
        if part.state == PartState.UPLOADED:
            try:
                part, info = self._create(api, job, part)
                refusal = was_refused(info)  # some providers accept a batch and then fail it at once
            except ApiError as exc:
                if not is_refusal(exc):
                    raise
                refusal = str(exc)
            if refusal is not None:
                # A refusal for a full queue proves that no batch runs: keep the file, and create it later.
                self._put_back(job, part, refusal, self._queue(job))
                return False
        if part.batch_id:
            api.keep_running(part.batch_id)
        return True

    def _upload(self, api: BatchApi, job: JobRecord, part: PartRecord) -> PartRecord:
        token = new_token()
        part = self.registry.set_part(
            part, expect=part.state, state=PartState.UPLOADING, token=token, queued=False, last_error=None
        )

        def report(done: int) -> None:
            self.go_on()
            self.reporter.progress("upload", done, part.length)

        with job_folder.opened(job, part, report) as content:
            file = api.upload(content, marks_of(job, part).filename(token))
        return self.registry.set_part(part, expect=PartState.UPLOADING, state=PartState.UPLOADED, file_id=file.id)

    def _create(self, api: BatchApi, job: JobRecord, part: PartRecord) -> tuple[PartRecord, BatchInfo]:
        """Create the batch of an uploaded part, and return the part and the batch."""
        sent_before = part.attempted_at is not None
        # The row is written before the request: after a kill, its token and its file find the batch.
        part = self.registry.set_part(
            part,
            expect=PartState.UPLOADED,
            state=PartState.CREATING,
            token=new_token(),
            attempted_at=time.time(),
            queued=False,
            last_error=None,
        )
        unclear: list[str] = []

        def note(text: str) -> None:
            unclear.append(text)
            self.reporter.warn(text)

        try:
            # One POST for each `creating` row, without retries: a repeated POST may create, and bill, a second batch.
            attempt = attempt_of(job, part)
            info = (sent_before and created_before(api, attempt)) or create_once.create(api, attempt, note=note)
        except UncertainError:
            raise
        except BatchError:
            # The provider has certainly created nothing, so the next attempt may send a new request.
            self.registry.set_part(part, expect=PartState.CREATING, state=PartState.UPLOADED)
            raise
        try:
            return self.adopt_batch(part, info, audits=AUDITS if unclear else part.audits), info
        except RegistryError as exc:
            raise keep_id(job, info, exc) from exc

    def adopt_batch(self, part: PartRecord, info: BatchInfo, *, audits: int = 0) -> PartRecord:
        """Store a batch as a part's own, and return the part. `audits` is AUDITS if an answer was lost."""
        try:
            part = self.registry.set_part(
                part, expect=PartState.CREATING, state=PartState.RUNNING, batch_id=info.id, audits=audits
            )
        except RegistryError:
            # Two processes may look for one lost batch at the same time. The second takes what the first has stored.
            part = next((p for p in self.registry.job(part.job).parts if p.batch_id == info.id), part)
            if part.batch_id != info.id:
                raise
        return self.store_status(part, info)

    def _queue(self, job: JobRecord) -> EnqueuedTokens:
        """Return the provider's queue, as far as this process knows it."""
        return EnqueuedTokens(self.registry, self.api(job).provider, self._pauses)

    def _put_back(self, job: JobRecord, part: PartRecord, message: str, queue: EnqueuedTokens) -> None:
        """Mark a part as uploaded again after the provider refused it because its queue is full.

        No batch ran, so nothing was paid; the uploaded file is used again. The limit is learned from `message`.
        """
        cleared = dict.fromkeys(("batch_id", "status", "ended_at", "output_file_id", "error_file_id"))
        part = self.registry.set_part(part, same_batch=True, state=PartState.UPLOADED, faults=(), **cleared)
        ours = queue.learn(job, part, message)
        self.registry.set_part(part, refusals=0 if ours else part.refusals + 1, queued=True)
        self.reporter.note(f"{queue.provider}'s queue is full; the rest of job {job.id} waits ({message})")

    def _find_batches(self, job: JobRecord, part: PartRecord) -> None:
        """Look for the batch of a part that has none yet, and for a second one of a part whose create was unclear."""
        if part.state == PartState.CREATING:
            # Adoption: a batch with the marks of this attempt is its batch, so the part needs no second request.
            with contextlib.suppress(ApiError):
                batch = create_once.find(self.api(job), attempt_of(job, part))
                if batch is not None:
                    self.adopt_batch(part, batch, audits=AUDITS)
        if part.batch_id and part.audits:
            self._check_for_second_batch(job, part)

    def poll_part(self, job: JobRecord, part: PartRecord, *, once: bool) -> None:
        """Ask for the status of a part's batch, and store it; a part that was refused is put back."""
        api = self.api(job)  # it says if the profile now names another place
        try:
            info = api.get(str(part.batch_id), once=once)
        except NotFoundError:
            if time.time() - (part.attempted_at or 0.0) > NEW_BATCH:
                raise
            return  # not every server of the provider knows the new batch yet
        message = was_refused(info)
        with contextlib.suppress(MovedOnError):  # then another process has stored it
            # A batch that failed because the queue is full goes back too; not one that was recovered or is cancelled.
            if message is None or part.sha256 is None or part.status == "cancelling":
                self.store_status(part, info)
                return
            with self.alone(job):
                self._put_back(job, part, message, self._queue(job))

    def _poll_other_jobs(self, job: JobRecord) -> None:
        """Ask for the status of other jobs' batches that use the limit that this job waits for.

        Perhaps no other process polls them, and this job can be sent when they end.
        """
        for part in self.registry.running(job.account, job.model, time.time()):
            if part.job != job.id:
                try:
                    self.poll_part(self.registry.job(part.job), part, once=True)
                except UnreachableError:
                    raise
                except (ApiError, NotFoundError):
                    continue  # the error concerns that batch alone

    def _check_for_second_batch(self, job: JobRecord, part: PartRecord) -> None:
        """Warn if an attempt whose answer was lost has created a second batch."""
        # A provider may finish a request late, after the search for its batch found nothing and another was created.
        with contextlib.suppress(ApiError):
            for batch in create_once.find_all(self.api(job), attempt_of(job, part)):
                if batch.id != part.batch_id and not batch.finished:
                    self.reporter.warn(
                        f"the provider has also created batch {batch.id}, late, from the same attempt as"
                        f" {part.batch_id}; if you do not want it: obatch cancel {batch.id} -p {job.provider}"
                    )
            self.registry.set_part(part, audits=part.audits - 1)
