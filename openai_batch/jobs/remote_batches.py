"""List the batches at a provider, each with the job that it belongs to. Nothing is stored."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_batch.errors import count_text
from openai_batch.providers.marks import is_ours

from .recover import job_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.provider import Provider

    from .store.records import JobRecord
    from .workflow import Workflow

_PAGE = 100  # the most batches that a provider lists at once


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch as its provider lists it."""

    provider: str  # the name of the provider
    info: BatchInfo  # what the list shows of it
    job: JobRecord | None  # the job here that has it
    ours: bool  # whether a job here has it, or the list shows our marks


def remote_batches(workflow: Workflow, provider: Provider, limit: int | None = None) -> Iterator[RemoteBatch]:
    """Yield the batches of an account, page by page, most often the newest first; at most `limit`.

    Raises ApiError, AuthError and NotFoundError if they cannot be listed.
    """

    def on_cut(count: int) -> None:
        workflow.reporter.warn(f"{provider}'s list ends too early, after {count_text(count, 'batch')}")

    page = _PAGE if limit is None else min(limit, _PAGE)
    for info in itertools.islice(workflow.connections.to(provider).batches(page, on_cut=on_cut), limit):
        job = job_with(workflow, provider, info)
        yield RemoteBatch(str(provider.name), info, job, job is not None or is_ours(info.metadata))
