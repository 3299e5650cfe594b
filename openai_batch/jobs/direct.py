"""Answer the requests of a part outside of a batch. Each answer is on the disk before the next request is sent.

jobs/UID/direct-N.answers is the journal of such a part: one result line for each answer, in the order of their arrival.
It is also the part's file of results. After a kill, only the requests that are not in it are sent. At most AT_ONCE
requests were being answered at that moment; they are sent again.

If an answer is lost in another way, the request is not sent again automatically: it counts as failed, and may have been
paid. `obatch retry` sends it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec

from openai_batch.errors import ApiError, UnreachableError
from openai_batch.files.atomic import sync, sync_folder
from openai_batch.local.result_lines import error_line, response_line
from openai_batch.net.delays import delays
from openai_batch.providers.batch_info import Counts
from openai_batch.results.result import Result
from openai_batch.results.result_line import UNREADABLE, read_line
from openai_batch.results.usage import ModelUsage, TokenCounts

from .parallel import Stopped, in_parallel
from .store import job_folder
from .store.records import PartState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openai_batch.providers.port import BatchApi

    from .store.records import JobRecord, PartRecord
    from .store.registry import Registry

AT_ONCE = 16  # how many requests are sent at the same time
_NOT_ANSWERED = frozenset({429, 503})  # HTTP statuses of requests that were not taken, and are sent again after a while
LOST = "no_answer"  # the error code of a request that got no answer
CANCELLING = "cancelling"  # the status of such a part if no more of its requests may be sent
_TRIES = 8  # how often such a request is sent


class DirectRequest(msgspec.Struct):
    """A request line."""

    custom_id: str  # its id
    url: str  # its endpoint
    body: dict[str, Any]  # its parameters


decode_request = msgspec.json.Decoder(DirectRequest).decode  # decode a checked request line


def lost_line(request: DirectRequest, error: Exception) -> bytes:
    """Return the result line of a request that got no answer."""
    lost = isinstance(error, ApiError) and _may_be_paid(error)
    return error_line(request.custom_id, LOST, f"{error}{'; it may have been paid' if lost else ''}").data


def _may_be_paid(error: ApiError) -> bool:
    """Return whether a request may have been answered: it was sent, and its answer was lost or cannot be read."""
    return error.status is None and getattr(error, "sent", True)


def answer_line(request: DirectRequest, status: int, body: bytes) -> bytes:
    """Return the result line of a request that was answered. An answer that cannot be read is kept as text."""
    line = response_line(request.custom_id, status, None, body).data
    try:
        read_line(line)
    except UNREADABLE as exc:
        text = f"the answer cannot be read ({exc}); it may have been paid: {body.decode('utf-8', 'replace')}"
        return error_line(request.custom_id, LOST, text).data
    return line


def answer_part(registry: Registry, api: BatchApi, job: JobRecord, part: PartRecord) -> PartRecord:
    """Answer the requests of a planned part that are not in its journal yet, and return the part, which has ended.

    If its status becomes CANCELLING, no more requests are sent. Call it while the job is locked. Raises InputError if
    its requests have changed, AuthError, and UnreachableError if the provider cannot be reached; the journal keeps what
    was answered.
    """
    source = job_folder.check_input(job, part)
    api.make_ready()
    with Journal(job_folder.result_file(job, str(part.source))) as journal, source.open("rb") as handle:

        @contextlib.contextmanager
        def worker(stopped: threading.Event) -> Iterator[tuple[BatchApi, threading.Event]]:
            with contextlib.closing(api.again()) as own:
                yield own, stopped

        def act(own: tuple[BatchApi, threading.Event], request: DirectRequest) -> None:
            journal.add(_answer(*own, request))

        def may_be_sent(_: DirectRequest) -> bool:
            return registry.part(part).status != CANCELLING

        wanted = (request for request in map(decode_request, handle) if request.custom_id not in journal.ids)
        allowed = itertools.takewhile(may_be_sent, wanted)
        with contextlib.closing(in_parallel(worker, act, allowed, AT_ONCE)) as done:
            for _ in done:
                pass
        return registry.set_part(part, expect=PartState.PLANNED, **journal.summary(job, part))


def _answer(api: BatchApi, stopped: threading.Event, request: DirectRequest) -> bytes:
    """Send a request, and return its result line. One that was not taken is sent again."""
    for delay in (*itertools.islice(delays(1.0, longest=30.0, spread=(0.5, 1.0)), _TRIES - 1), None):
        if stopped.is_set():
            raise Stopped
        try:
            status, body = api.respond(request.url, request.body)
        except ApiError as exc:
            if _may_be_paid(exc):
                return lost_line(request, exc)
            if delay is None or exc.lasting or not isinstance(exc, UnreachableError):
                raise
        else:
            if status not in _NOT_ANSWERED or delay is None:
                return answer_line(request, status, body)
        stopped.wait(delay)
    raise AssertionError  # the loop returns or raises


class Journal:
    """The answers of a part so far. Several threads may add to it."""

    def __init__(self, path: Path) -> None:
        self.ids: set[str] = set()
        """The ids of the requests that are not sent again."""
        self._good = 0
        self._used = ModelUsage()
        self._lock = threading.Lock()
        new = not path.exists()
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if new:
            sync_folder(path.parent)

    def __enter__(self) -> Self:
        """Read what is there. A line that was not written to its end is cut off."""
        end = 0
        for line in self._file:
            if line.endswith(b"\n"):
                end += len(line)
                self._count(line)
        self._file.seek(end)
        self._file.truncate()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        """Add a result line; it is on the disk when this returns."""
        with self._lock:
            self._file.write(line)
            self._file.flush()
            sync(self._file.fileno())
            self._count(line)

    def summary(self, job: JobRecord, part: PartRecord) -> dict[str, Any]:
        """Return the fields of the part, which has ended."""
        used = self._used
        usage = {"input_tokens": used.input, "output_tokens": used.output, "total_tokens": used.input + used.output}
        return {
            "state": PartState.ENDED,
            "status": "completed" if len(self.ids) >= part.requests else "cancelled",
            "counts": Counts(len(self.ids), self._good, len(self.ids) - self._good),
            # Only beside the counts of the batches: else the results are counted one by one.
            "usage": usage if job.usage and used.results else {},
            "output_file_id": part.source,
            "ended_at": time.time(),
        }

    def _count(self, line: bytes) -> None:
        result = Result.of(line)
        self.ids.add(result.custom_id)
        self._good += result.outcome.answered
        self._used.add(TokenCounts.of(result.usage), answered=result.outcome.answered)
