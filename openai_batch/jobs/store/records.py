"""The records of the registry: a job, its parts, and the states that a part goes through.

    planned → uploading → uploaded → creating → running → ended → collected

Each arrow is one durable commit. It is made before the next step.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from openai_batch.providers.batch_info import FINISHED, PHASES, STATUSES, BatchFault, Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.requests.split import Slice


class PartState(StrEnum):
    """The state of a part. The registry stores these words."""

    PLANNED = "planned"  # nothing was sent
    UPLOADING = "uploading"  # its file is being uploaded, or the upload was interrupted
    UPLOADED = "uploaded"  # the provider has its file
    CREATING = "creating"  # its batch was requested, and no answer is stored
    RUNNING = "running"  # its batch is known, and has not ended as far as is known
    ENDED = "ended"  # its batch has ended, or it will never have one
    COLLECTED = "collected"  # its results are written


UNSENT = (PartState.PLANNED, PartState.UPLOADING, PartState.UPLOADED)
"""The states in which no request to create a batch is open."""

DONE = (PartState.ENDED, PartState.COLLECTED)  # the states in which nothing more happens at the provider
RETRY = "retry-"  # the `source` of a part begins with this if it sends failed requests again

DIRECT = "direct-"
"""The `source` of a part begins with this if its requests are sent again outside of a batch (`jobs/direct`)."""

IMPORTED = "imported-"
"""The `output_file_id` of a part begins with this if its results were imported (`jobs/import_results`)."""

IMPORTED_URL = "imported:"
"""The base URL and the account of a job whose results were imported, until some requests are sent to a provider."""

FOREIGN = "batch:"
"""The identity of a job begins with this, and ends with the batch's id, if its batch was made elsewhere."""

ROWS = "rows: "  # what the `input_name` of a job begins with whose rows a program gave under a name
UNIDENTIFIED = "unknown:"  # the same if its batch is ours, and its marks do not say what was asked for
QUEUED = "queued"  # the status of a job that has no running batch and waits for room at the provider

NOT_SENT = "not_sent"
"""The status of a job that was stored, and no batch of it was requested. No process is sending it now."""

PARTLY_SENT = "partly_sent"
"""The status of a job with ended batches and parts that were not sent, for another reason than a full queue."""

UNCERTAIN = "uncertain"
"""The status of a job if it is unknown whether a batch was created, and no process is searching for it now."""

WITHDRAWN = "withdrawn"  # the status of a job that ended without any batch

# The status of an ended job is the first of these that one of its parts has.
_WORST_FIRST = ("failed", "expired", "cancelled", "completed")


@dataclass(frozen=True, slots=True)
class ListedPart:
    """What a list of jobs reads of a part: what the state of its job depends on."""

    job: int  # the job's number
    number: int  # its place in the job, from 1
    state: PartState = PartState.PLANNED
    requests: int = 0  # how many requests it has
    source: str | None = None  # the name, without ending, of its file in the job's folder; None for the job's input
    batch_id: str | None = None  # None before its batch is known
    status: str | None = None  # the batch's, as last seen, in the provider's words (`batch_info`); None before
    counts: Counts = field(default_factory=Counts)  # the batch's, as last seen
    output_file_id: str | None = None  # the file of results
    queued: bool = False  # whether it is not sent because the provider's queue is full

    @property
    def sent_again(self) -> bool:
        """Whether its requests failed in earlier parts and are sent again (`jobs/retry`)."""
        return (self.source or "").startswith((RETRY, DIRECT))

    @property
    def direct(self) -> bool:
        """Whether its requests are answered outside of a batch: it has no batch, and is planned until it has ended."""
        return (self.source or "").startswith(DIRECT)

    @property
    def imported(self) -> bool:
        """Whether its results were imported: it has no batch."""
        return not self.batch_id and (self.output_file_id or "").startswith(IMPORTED)

    @property
    def unsent(self) -> bool:
        """Whether it has no known batch and still needs one."""
        return not self.batch_id and self.state not in DONE

    @property
    def withdrawn(self) -> bool:
        """Whether it ended without a known batch: it was cancelled, or left to a later job."""
        return not self.batch_id and self.state in DONE and not self.direct and not self.imported


@dataclass(frozen=True, slots=True)
class PartRecord(ListedPart):
    """A slice of a job: one uploaded file and at most one batch. Times are Unix seconds."""

    offset: int = 0  # where its requests begin in its source, in bytes
    length: int = 0  # how many bytes they have
    first_row: int = 0  # the row number of its first request in the source, from 0
    ids_offset: int = 0  # where the id of its first request begins in the source's file of ids, in bytes
    sha256: str | None = None  # the hash of its bytes; None if its place in the input is not known
    token: str | None = None  # the mark of its latest upload or attempt to create a batch
    file_id: str | None = None  # the uploaded file
    attempted_at: float | None = None  # when the latest attempt to create a batch began
    error_file_id: str | None = None  # the file of failed requests
    created_at: float | None = None  # when the batch was created
    expires_at: float | None = None  # when the batch expires
    ended_at: float | None = None  # when the batch ended, or the part was cancelled
    checked_at: float | None = None  # when we last saw the batch, by our clock
    faults: tuple[BatchFault, ...] = ()  # why the batch failed as a whole
    usage: dict[str, int] = field(default_factory=dict)  # tokens used, by kind
    late_since: float | None = None  # when we first saw its batch completed without an output file, by our clock
    audits: int = 0  # how many more times to check the provider's list for a second batch (`workflow.AUDITS`)
    refusals: int = 0  # how often the provider refused it because its queue was full with tokens of other programs
    last_error: str | None = None  # why the last try to send it failed
    phases: dict[str, float] = field(default_factory=dict)  # when its batch reached each phase (`batch_info.PHASES`)
    files_expire_at: float | None = None  # when the provider deletes its results; None if that is not known
    deleted: int = 0  # whether its files at the provider are deleted: 1 once that has begun, 2 when it is done
    costs: str | None = None  # what its results cost, as JSON (`jobs/receipt`); None before they are read

    @classmethod
    def of(cls, bounds: Slice, job: int, number: int) -> PartRecord:
        """Return a planned part for a slice."""
        return cls(
            job=job,
            number=number,
            offset=bounds.offset,
            length=bounds.length,
            requests=bounds.requests,
            source=bounds.source,
            first_row=bounds.first_row,
            ids_offset=bounds.ids_offset,
            sha256=bounds.sha256,
        )


@dataclass(frozen=True, slots=True)
class ListedJob:
    """What a list of jobs reads of a job. Times are Unix seconds."""

    id: int  # its number on this machine, from 1
    provider: str  # the provider's name
    created_at: float
    uid: str = ""  # the mark in its batches' metadata, and the name of its folder; it finds them without this registry
    name: str | None = None  # the name that the user gave it; no other job has it
    model: str | None = None  # the model of its requests; None if they have several
    requests: int = 0  # how many requests it has, with those that are not sent
    answered: int | None = None  # how many requests were answered; None before its results are collected
    skipped: int = 0  # rows that are not sent: another row or an earlier job has their answer (`reused_answers`)
    unanswered: int | None = None  # how many requests had no answer when some were sent again last
    left_out: int | None = None  # how many of these were not sent again
    busy: bool = field(default=False, compare=False)  # whether a process is sending its parts right now
    parts: tuple[ListedPart, ...] = ()  # in the order of their numbers

    @property
    def ended(self) -> bool:
        """Whether every part has ended, with or without success."""
        return self._has_rows and all(part.state in DONE for part in self.parts)

    @property
    def _has_rows(self) -> bool:
        return bool(self.parts) or self.skipped > 0

    @property
    def status(self) -> str:
        """One word for the whole job: the status of its batch, or of several the one that matters most.

        Without a batch it is the step that a process is at, or one of the words at the top of this file.
        """
        if self.ended:
            if self.parts and all(part.withdrawn for part in self.parts):
                return WITHDRAWN
            statuses = [part.status for part in self.parts]
            if any(part.sent_again for part in self.parts) and self.counts.completed == self.counts.total:
                return "completed"  # even if an earlier batch failed
            return next((status for status in _WORST_FIRST if status in statuses), "completed")
        running = [part.status for part in self.parts if part.batch_id and part.status not in FINISHED]
        if running:
            return running[0] or PartState.RUNNING
        unsent = [part for part in self.parts if part.unsent]
        if self.busy and unsent:
            return unsent[0].state
        if any(part.state == PartState.CREATING for part in unsent):
            return UNCERTAIN
        if any(part.queued for part in unsent):
            return QUEUED
        return PARTLY_SENT if self.batch_ids else NOT_SENT

    @property
    def collected(self) -> bool:
        """Whether its results were collected, and nothing was sent after that."""
        return self.answered is not None and all(part.state == PartState.COLLECTED for part in self.parts)

    @property
    def waiting(self) -> int:
        """How many parts have no batch yet and still need one."""
        return sum(part.unsent for part in self.parts)

    @property
    def counts(self) -> Counts:
        """How many of the requests that are sent have ended. The total is our own count.

        While it runs, and before its results are collected, the others are the provider's, summed over the parts. In a
        job that has ended, every request that did not succeed counts as failed, also one without a result. They are
        all 0 but the total if the provider does not count.
        """
        sent = self.requests - self.skipped
        total = sent if self.requests else sum(part.counts.total or part.requests for part in self.parts)
        if self.collected and self.answered is not None:
            failed = min(total, self.requests - self.answered)
            return Counts(total, total - failed, failed)
        completed, failed = self._provider_counts(total)
        uncounted = any(part.status == "completed" and part.requests and not part.counts.done for part in self.parts)
        return Counts(total, completed, total - completed if self.ended and not uncounted else failed)

    def _provider_counts(self, total: int) -> tuple[int, int]:
        """Return how many of `total` requests are completed, and how many failed, as the provider says."""
        again = [part for part in self.parts if part.sent_again]
        if again and self.left_out is not None and self.unanswered is not None:
            # The answers were read before the latest of them were sent.
            latest = [part for part in again if part.source == again[-1].source]
            good, bad = _summed(part.counts for part in latest)
            least = total - self.unanswered if self.ended else 0
            completed = max(0, least, total - self.left_out - sum(part.requests for part in latest) + good)
            return min(total, completed), max(0, min(total - completed, self.left_out + bad))
        completed, failed = _summed(part.counts for part in self.parts if not part.sent_again)
        for _, parts in itertools.groupby(again, key=lambda part: part.source):
            # Requests that are sent again failed before, even if the provider counted them as completed then.
            batches = list(parts)
            count = sum(part.requests for part in batches)
            good, bad = _summed(part.counts for part in batches)
            completed, failed = min(completed, total - count) + good, max(0, failed - count) + bad
        completed = min(total, completed)
        return completed, min(total - completed, failed)

    @property
    def batch_ids(self) -> list[str]:
        """The ids of the job's batches, in the order of its parts."""
        return [part.batch_id for part in self.parts if part.batch_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(ListedJob):
    """What a user started: one input on one provider. Times are Unix seconds."""

    identity: str  # the hash of what was asked; the same request again has the same hash (`JobSpec.identity`)
    base_url: str  # where its batches are
    account: str  # the account that they belong to (`Provider.account`)
    endpoint: str  # the path that its requests call; empty if it is not known
    window: str  # the completion window, such as "24h"
    metadata: dict[str, str] = field(default_factory=dict)  # what the user gave for its batches
    input_path: str | None = None  # the input file; None if it came from a pipe or was made
    input_sha256: str | None = None  # the hash of the requests; None if the input is not known here
    input_bytes: int = 0  # their size
    output_path: str | None = None  # where its results were last written
    input_name: str | None = None  # what the user named as the input; it finds the job again when the input has grown
    output_form: dict[str, Any] = field(default_factory=dict)  # what `run` was given for it: path, form, options
    max_cost: str | None = None  # the most that it may cost, in USD, retries included; None if that is not limited
    output_seconds: int | None = None  # how long the provider keeps its results; None for the provider's own time
    deadline: float | None = None  # when its answers must be there (`jobs/deadline`); None if no command waits for that
    used_at: float = field(default=0.0, compare=False)  # when a command last used it
    parts: tuple[PartRecord, ...] = ()

    @property
    def order(self) -> str:
        """The mark of the identity: 32 hexadecimal digits."""
        if self.identity.startswith((FOREIGN, UNIDENTIFIED)):
            return hashlib.sha256(self.identity.encode()).hexdigest()[:32]
        return self.identity

    @property
    def submitted(self) -> bool:
        """Whether every part has a batch or was withdrawn, so that nothing is left to send."""
        return self._has_rows and not self.waiting

    @property
    def not_sent(self) -> bool:
        """Whether no batch of it was ever requested, and it does not just wait for room at the provider."""
        return not self.ended and all(
            part.unsent and part.state != PartState.CREATING and not part.queued for part in self.parts
        )

    @property
    def reason(self) -> str | None:
        """Why its next part is not sent; None if every part is, or if a process is sending it right now."""
        part = next((part for part in self.parts if part.unsent), None)
        if part is None or self.busy:
            return None
        if part.queued:
            return "the provider's queue is full"
        return part.last_error or (None if part.state == PartState.PLANNED else "the last try was interrupted")

    @property
    def incomplete(self) -> bool:
        """Whether it ended and some requests did not succeed, according to its counts."""
        return self.ended and (self.status != "completed" or self.counts.failed > 0)

    @property
    def unknown_status(self) -> str | None:
        """The first status of a running batch that is a word which we do not know, or None."""
        running = (part.status for part in self.parts if part.batch_id and part.state == PartState.RUNNING)
        return next((status for status in running if status and status not in STATUSES), None)

    @property
    def expires_at(self) -> float | None:
        """When the first of its batches expires, in Unix seconds."""
        return min((part.expires_at for part in self.parts if part.expires_at), default=None)

    @property
    def sent_at(self) -> float | None:
        """When the job's first batch was created; None if that is not known."""
        return min((part.created_at for part in self.parts if part.created_at), default=None)

    @property
    def ended_at(self) -> float | None:
        """When the last of its batches ended, in Unix seconds; None while the job runs."""
        times = [part.ended_at for part in self.parts]
        return max((time for time in times if time), default=None) if self.ended else None

    @property
    def phases(self) -> dict[str, float]:
        """When it reached each phase: "finalizing" with its last batch, the others with its first one."""
        parts = [part for part in self.parts if not (part.withdrawn or part.direct or part.imported)]
        batches = [part.phases if part.batch_id else {} for part in parts]
        times = {phase: [batch[phase] for batch in batches if phase in batch] for phase in PHASES}
        if len(times["finalizing"]) < len(batches):
            times["finalizing"] = []
        return {phase: max(known) if phase == "finalizing" else min(known) for phase, known in times.items() if known}

    @property
    def files_expire_at(self) -> float | None:
        """When the provider deletes the first results that were not collected, in Unix seconds, if that is known."""
        parts = (part for part in self.parts if part.state == PartState.ENDED)
        return min((part.files_expire_at for part in parts if part.files_expire_at), default=None)

    @property
    def faults(self) -> list[BatchFault]:
        """Why batches failed as a whole, as the provider said."""
        return [fault for part in self.parts for fault in part.faults]

    @property
    def troubles(self) -> list[BatchFault]:
        """What the provider shows of batches that run, such as why they do not continue."""
        return [fault for part in self.parts if part.state == PartState.RUNNING for fault in part.faults]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens used, by kind, summed over the batches whose provider reports them."""
        total: dict[str, int] = {}
        for part in self.parts:
            for kind, count in part.usage.items():
                total[kind] = total.get(kind, 0) + count
        return total


def known_files(part: PartRecord, info: BatchInfo) -> tuple[str | None, str | None]:
    """Return the ids of the files of a part, output and errors, as its batch shows them now.

    A known id stays where the batch shows none: the answer may be older, and without a file its results would count as
    missing, and be paid again.
    """
    return info.output_file_id or part.output_file_id, info.error_file_id or part.error_file_id


def lacks_output(batch: BatchInfo | PartRecord) -> bool:
    """Return whether a completed batch has not shown the file of its results yet, according to its counts.

    Some servers show the end of a batch before its files. A batch in which every request failed has an error file only.
    """
    counts = batch.counts
    all_failed = bool(batch.error_file_id) and 0 < counts.total <= counts.failed
    return batch.status == "completed" and not batch.output_file_id and not all_failed


def _summed(counts: Iterable[Counts]) -> tuple[int, int]:
    """Return how many requests were completed, and how many failed."""
    completed = failed = 0
    for each in counts:
        completed += each.completed
        failed += each.failed
    return completed, failed


@dataclass(frozen=True, slots=True)
class EarlierJobs:
    """The earlier jobs that share rows with a new one, by their numbers."""

    used: frozenset[int] = frozenset()  # those that share at least one row with it
    grown: frozenset[int] = frozenset()  # those whose rows are all in it too
    newest: int | None = None  # the newest job of the same input or output when we looked; None if we did not look
