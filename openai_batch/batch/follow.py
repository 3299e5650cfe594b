"""Wait until a batch has ended, and keep waiting after temporary errors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.net.delays import delays
from openai_batch.net.hosts import is_loopback
from openai_batch.providers.batch_info import FINISHED, STATUSES
from openai_batch.providers.marks import own_metadata
from openai_batch.providers.polling import Poller

from .warn import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai.types.batch import Batch as OpenAIBatch

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.provider import Provider

_FIRST_DELAY = 0.1  # seconds between the first two polls of a provider on this machine


def follow(
    poll: Callable[[], OpenAIBatch],
    *,
    interval: float,
    on_status: Callable[[OpenAIBatch], None],
    provider: Provider | None = None,
) -> OpenAIBatch:
    """Call `poll` until the batch has ended, and return the ended batch.

    `on_status` is called with each answer. `interval` is the time between two polls in seconds. A provider on this
    machine is polled more often at first, since a small batch may end soon there. A temporary error, such as a lost
    connection, gives a warning. Every other BatchError of `poll` is raised.
    """
    near = provider is not None and (provider.is_local or is_loopback(urlsplit(provider.base_url or "").hostname))
    first = min(_FIRST_DELAY, interval) if near else interval
    # Before the first answer, one error of access is enough to stop: the batch id or the key is wrong.
    poller = Poller(delays(first, growth=1.5, longest=interval), warn, max_access_errors=1)
    while True:
        batch = None
        with poller.attempt():
            batch = poll()
        if batch is not None:
            on_status(batch)
            if batch.status in FINISHED:
                return batch
        unknown = batch.status if batch is not None and batch.status not in STATUSES else None
        time.sleep(poller.next_delay(unknown=unknown))


def sdk_batch(info: BatchInfo) -> OpenAIBatch:
    """Return the SDK's object of a batch, with a standard word as its status, and the user's own metadata only."""
    batch: Any = info.raw
    if batch.status != info.status:
        batch.status = info.status
    own = own_metadata(info.metadata)
    if len(own) < len(info.metadata):
        batch.metadata = own or None
    result: OpenAIBatch = batch
    return result
