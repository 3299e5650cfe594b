"""The records of the registry: a job, its parts, and the states that a part goes through.

    planned → uploading → uploaded → creating → running → ended → collected

Each arrow is one durable commit, made before the act that it speaks of.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openai_batch.providers.batch_info import FINISHED, BatchFault, Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_batch.requests.split import Slice

PLANNED = "planned"
UPLOADING = "uploading"
UPLOADED = "uploaded"
CREATING = "creating"
RUNNING = "running"
ENDED = "ended"
COLLECTED = "collected"

WAITING = (PLANNED, UPLOADING, UPLOADED)
"""The states in which no attempt to create a batch is under way."""

RETRY = "retry-"
"""What the source of parts begins with that send again what had no success."""

QUEUED = "queued"
"""The status of a job some of whose parts have ended while others wait for room at the provider."""

# What a job's parts say together: the first of these that any part is in.
_ORDER = ("failed", "expired", "cancelled", "completed")


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A slice of a job: one uploaded file and at most one batch. Times are Unix seconds.

    `offset` and `length` are bytes of its `source` (None: the job's input, else a file of the job's own), `sha256`
    their hash, `first_row` and `ids_offset` the place of its first request there and of that request's id
    (`requests/split`). `status` is the batch's as last seen, None before there is one; `token` and `attempted_at`
    belong to the latest
    attempt to create it. `audits` is how many more looks at the provider's list shall make sure that an attempt whose
    answer was lost made one batch only; `refusals` how often the provider's queue was full for it.
    """

    job: int
    number: int
    state: str = PLANNED
    offset: int = 0
    length: int = 0
    requests: int = 0
    source: str | None = None
    first_row: int = 0
    ids_offset: int = 0
    sha256: str | None = None
    token: str | None = None
    file_id: str | None = None
    attempted_at: float | None = None
    batch_id: str | None = None
    status: str | None = None
    counts: Counts = field(default_factory=Counts)
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: float | None = None
    expires_at: float | None = None
    ended_at: float | None = None
    checked_at: float | None = None
    faults: tuple[BatchFault, ...] = ()
    usage: dict[str, int] = field(default_factory=dict)
    audits: int = 0
    refusals: int = 0

    @property
    def sent_again(self) -> bool:
        """Whether its requests were in earlier parts too, and had no success there (`jobs/retry`)."""
        return (self.source or "").startswith(RETRY)

    @property
    def withdrawn(self) -> bool:
        """Whether it came to its end without a batch that is known: it was cancelled, or left to a later job."""
        return not self.batch_id and self.state in (ENDED, COLLECTED)

    @classmethod
    def of(cls, piece: Slice, job: int, number: int) -> PartRecord:
        """Return a planned part for a slice."""
        return cls(
            job=job,
            number=number,
            offset=piece.offset,
            length=piece.length,
            requests=piece.requests,
            source=piece.source,
            first_row=piece.first_row,
            ids_offset=piece.ids_offset,
            sha256=piece.sha256,
        )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What a user started: one input on one provider.

    `identity` is the hash that tells it from every other order, `uid` what its batches bear in their metadata, so
    that they can be found again without this registry. `input_path` is None for what came from a pipe; sizes are
    in bytes; `succeeded` is known once it is collected. `input_name` tells what the user named as the input, to know a
    grown one by; `output_path` where its results went last. `skipped` counts the rows that are not
    sent: an identical request is, or an earlier job has their answers (`jobs/store/reused_answers`).
    """

    id: int
    identity: str
    provider: str
    base_url: str
    endpoint: str
    window: str
    created_at: float
    uid: str = ""
    name: str | None = None
    model: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    input_path: str | None = None
    input_sha256: str | None = None
    input_bytes: int = 0
    requests: int = 0
    output_path: str | None = None
    succeeded: int | None = None
    input_name: str | None = None
    skipped: int = 0
    parts: tuple[PartRecord, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether every part has come to its end."""
        return self._has_rows and all(part.state in (ENDED, COLLECTED) for part in self.parts)

    @property
    def submitted(self) -> bool:
        """Whether no part is to be sent any more: each has its batch, or was withdrawn."""
        return self._has_rows and not self.waiting

    @property
    def _has_rows(self) -> bool:
        return bool(self.parts) or self.skipped > 0

    @property
    def incomplete(self) -> bool:
        """Whether it ended and some requests did not succeed, as far as the provider's counts say."""
        return self.ended and (self.status != "completed" or self.counts.failed > 0)

    @property
    def status(self) -> str:
        """One word for the whole job: the batch's own status where there is one part."""
        statuses = [part.status or part.state for part in self.parts]
        if self.ended:
            if any(part.sent_again for part in self.parts) and self.counts.completed == self.counts.total:
                return "completed"  # whatever became of earlier batches
            return next((word for word in _ORDER if word in statuses), "completed")
        running = [part.status for part in self.parts if part.batch_id and part.status not in FINISHED]
        if running:
            return running[0] or RUNNING
        if any(part.batch_id for part in self.parts):
            return QUEUED
        return next((word for word in statuses if word), PLANNED)

    @property
    def collected(self) -> bool:
        """Whether its results were collected, and nothing was sent since."""
        return self.succeeded is not None and all(part.state == COLLECTED for part in self.parts)

    @property
    def waiting(self) -> int:
        """How many parts have no batch yet, and shall have one."""
        return sum(1 for part in self.parts if not part.batch_id and part.state not in (ENDED, COLLECTED))

    @property
    def counts(self) -> Counts:
        """The provider's counts of what is sent, summed over the parts; the total is ours until it has one."""
        sent = self.requests - self.skipped
        total = sent if self.requests else sum(part.counts.total or part.requests for part in self.parts)
        again = [part for part in self.parts if part.sent_again]
        if again and self.collected and self.succeeded is not None:
            failed = min(total, self.requests - self.succeeded)
            return Counts(total, total - failed, failed)
        completed, failed = _summed(part.counts for part in self.parts if not part.sent_again)
        for _, parts in itertools.groupby(again, key=lambda part: part.source):
            # What is sent again had no success before, whatever the provider counted then.
            batches = list(parts)
            count = sum(part.requests for part in batches)
            good, bad = _summed(part.counts for part in batches)
            completed, failed = min(completed, total - count) + good, max(0, failed - count) + bad
        completed = min(total, completed)
        return Counts(total, completed, min(total - completed, failed))

    @property
    def batch_ids(self) -> list[str]:
        """The ids of the job's batches, in the order of its parts."""
        return [part.batch_id for part in self.parts if part.batch_id]

    @property
    def expires_at(self) -> float | None:
        """When the first of its batches runs out of time."""
        return min((part.expires_at for part in self.parts if part.expires_at), default=None)

    @property
    def ended_at(self) -> float | None:
        """When the last of its batches ended; None while one runs."""
        times = [part.ended_at for part in self.parts]
        return max((time for time in times if time), default=None) if self.ended else None

    @property
    def faults(self) -> list[BatchFault]:
        """Why batches failed as a whole, in the provider's words."""
        return [fault for part in self.parts for fault in part.faults]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens used, summed over the parts that say."""
        total: dict[str, int] = {}
        for part in self.parts:
            for kind, count in part.usage.items():
                total[kind] = total.get(kind, 0) + count
        return total


def _summed(counts: Iterable[Counts]) -> tuple[int, int]:
    """Return how many requests were completed, and how many failed."""
    found = list(counts)
    return sum(each.completed for each in found), sum(each.failed for each in found)


@dataclass(frozen=True, slots=True)
class EarlierJobs:
    """The earlier jobs that share rows with an order, by their numbers; `grown` are those all of whose rows it has.

    `newest` is the newest job of the same input or output that was there when it was looked.
    """

    used: frozenset[int] = frozenset()
    grown: frozenset[int] = frozenset()
    newest: int | None = None
