"""Follow a batch to its end, through whatever a network does meanwhile."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._batchinfo import FINISHED
from ._hosts import is_loopback
from ._warn import warn
from .errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai import OpenAI
    from openai.types.batch import Batch as OpenAIBatch

    from ._batchinfo import BatchInfo
    from ._profile import Provider

_FIRST_PAUSE = 0.1
_LONGEST_BACKOFF = 60.0


def follow(
    look: Callable[[], OpenAIBatch],
    *,
    interval: float,
    seen: Callable[[OpenAIBatch], None],
    provider: Provider | None = None,
) -> OpenAIBatch:
    """Call `look` until the batch has come to its end, and return it as it was then.

    `seen` hears each answer. `interval` seconds lie between two looks; a provider on this machine is asked
    sooner at first, since a small job there takes moments. What passes, such as a lost connection or a busy
    server, is warned of once and waited out, as long as the server asks.
    """
    pause = min(_FIRST_PAUSE, interval) if provider is not None and is_near(provider) else interval
    backoff = 1.0
    while True:
        try:
            batch = look()
        except ApiError as exc:
            if not exc.passes:
                raise
            warn(f"{exc}; still waiting")
            time.sleep(max(exc.retry_after or 0.0, backoff))
            backoff = min(2 * backoff, _LONGEST_BACKOFF)
            continue
        backoff = 1.0
        seen(batch)
        if batch.status in FINISHED:
            return batch
        time.sleep(pause)
        pause = min(pause * 1.5, interval)


def is_near(provider: Provider) -> bool:
    """Tell whether the provider is on this machine."""
    return provider.is_local or is_loopback(urlsplit(provider.base_url or "").hostname)


def sdk_batch(info: BatchInfo) -> OpenAIBatch:
    """Return the SDK's object of a batch, its status in the standard words."""
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
    """Wait for one batch, or for several, through the given client.

    Deprecated: use `Batch.status()`, `Batch.submit_wait_download()` and `Batch.download()`. `callback` hears
    every status, `finished_callback` each batch's last one; `status_kwargs` (extra_headers, extra_query,
    extra_body, timeout) go to the client. Returns one batch for one id and a list for several. Nothing is
    printed or downloaded.
    """
    from ._api import BatchApi, dry_run_batch
    from .providers import get_provider_by_base_url

    warnings.warn(
        "The wait() function is deprecated. "
        "Use Batch.status(), Batch.submit_wait_download() and Batch.download() instead.",
        DeprecationWarning,
        stacklevel=2,
    )
    dry_run = status_kwargs.pop("dry_run", False)
    provider = get_provider_by_base_url(str(client.base_url))
    api = BatchApi(provider, client=client)

    def seen(batch: OpenAIBatch) -> None:
        if callback is not None:
            callback(batch)

    def wait_for_one(one: str) -> OpenAIBatch:
        if dry_run:
            batch: OpenAIBatch = dry_run_batch(one)
            seen(batch)
        else:
            batch = follow(
                lambda: sdk_batch(api.get(one, **status_kwargs)), interval=interval, seen=seen, provider=provider
            )
        if finished_callback is not None:
            finished_callback(batch)
        return batch

    if isinstance(batch_id, str):
        return wait_for_one(batch_id)
    return [wait_for_one(one) for one in batch_id]
