"""Wait until a batch has ended, and keep waiting after errors that may pass."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.net.delays import delays
from openai_batch.net.hosts import is_loopback
from openai_batch.providers.batch_info import FINISHED, STATUSES
from openai_batch.providers.polling import Poller

from .warn import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai import OpenAI
    from openai.types.batch import Batch as OpenAIBatch

    from openai_batch.providers.batch_info import BatchInfo
    from openai_batch.providers.provider import Provider

_FIRST_DELAY = 0.1
"""Seconds between the first two polls of a provider on this machine."""


def follow(
    poll: Callable[[], OpenAIBatch],
    *,
    interval: float,
    on_status: Callable[[OpenAIBatch], None],
    provider: Provider | None = None,
) -> OpenAIBatch:
    """Call `poll` until the batch has ended, and return the ended batch.

    `on_status` is called with each answer. `interval` is the time between two polls in seconds. A provider on this
    machine is polled more often at first, since a small batch may end soon there. An error that may pass, such as a
    lost connection, gives a warning. Every other BatchError of `poll` is raised.
    """
    first = min(_FIRST_DELAY, interval) if provider is not None and is_near(provider) else interval
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


def is_near(provider: Provider) -> bool:
    """Tell whether the provider is on this machine."""
    return provider.is_local or is_loopback(urlsplit(provider.base_url or "").hostname)


def sdk_batch(info: BatchInfo) -> OpenAIBatch:
    """Return the SDK's object of a batch, with a standard word as its status."""
    batch: Any = info.raw
    if batch.status != info.status:
        batch.status = info.status
    result: OpenAIBatch = batch
    return result


def wait(
    client: OpenAI,
    batch_id: str | Iterable[str],
    interval: float = 60,
    callback: Callable[[OpenAIBatch], object] | None = None,
    finished_callback: Callable[[OpenAIBatch], object] | None = None,
    **status_kwargs: Any,
) -> OpenAIBatch | list[OpenAIBatch]:
    """Wait for one batch or for several with the given client; return one batch for one id, and a list for several.

        finished = wait(provider.get_client(), "batch_abc123", interval=10)

    Deprecated: use `Batch.status()`, `Batch.submit_wait_download()` and `Batch.download()`. `interval` is the time
    between two polls in seconds. `callback` is called with the batch after each poll, `finished_callback` with each
    ended batch. `status_kwargs` (extra_headers, extra_query, extra_body, timeout) go to the client. Nothing is printed
    or downloaded. Raises AuthError, NotFoundError, or an ApiError that does not pass.
    """
    from openai_batch.providers.api import BatchApi, dry_run_batch
    from openai_batch.providers.lookup import get_provider_by_base_url

    warnings.warn(
        "The wait() function is deprecated. "
        "Use Batch.status(), Batch.submit_wait_download() and Batch.download() instead.",
        DeprecationWarning,
        stacklevel=2,
    )
    dry_run = status_kwargs.pop("dry_run", False)
    provider = get_provider_by_base_url(str(client.base_url))
    api = BatchApi(provider, client=client)

    def on_status(batch: OpenAIBatch) -> None:
        if callback is not None:
            callback(batch)

    def wait_for_one(one: str) -> OpenAIBatch:
        if dry_run:
            batch: OpenAIBatch = dry_run_batch(one)
            on_status(batch)
        else:
            batch = follow(
                lambda: sdk_batch(api.get(one, **status_kwargs)),
                interval=interval,
                on_status=on_status,
                provider=provider,
            )
        if finished_callback is not None:
            finished_callback(batch)
        return batch

    if isinstance(batch_id, str):
        return wait_for_one(batch_id)
    return [wait_for_one(one) for one in batch_id]
