"""`wait`, the function of 0.3.4."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from openai_batch.providers.lookup import get_provider_by_base_url

from .batch import Batch
from .follow import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai import OpenAI
    from openai.types.batch import Batch as OpenAIBatch


def wait(
    client: OpenAI,
    batch_id: str | Iterable[str],
    interval: float = 60,
    callback: Callable[[OpenAIBatch], object] | None = None,
    finished_callback: Callable[[OpenAIBatch], object] | None = None,
    **status_kwargs: Any,
) -> OpenAIBatch | list[OpenAIBatch]:
    """Wait for one batch or for several (`batch_id`) with the `client`, and download their results.

        finished = wait(provider.get_client(), "batch_abc123", interval=10)

    Returns one batch for one id, and a list for several. Deprecated: use `Batch.status()`,
    `Batch.submit_wait_download()` and `Batch.download()`. `interval` is the time between two polls in seconds. After
    each poll `callback` is called with the batch, and its status is printed; `finished_callback` is called with each
    ended batch. `status_kwargs` (extra_headers, extra_query, extra_body, timeout) go to the client. Raises what
    `Batch.status` and `Batch.download` raise.
    """
    from openai_batch.providers.openai_api import OpenAIBatchApi

    warnings.warn(
        "The wait() function is deprecated. "
        "Use Batch.status(), Batch.submit_wait_download() and Batch.download() instead.",
        DeprecationWarning,
        stacklevel=2,
    )

    def on_status(polled: OpenAIBatch) -> None:
        if callback is not None:
            callback(polled)
        print(polled.status)  # noqa: T201 - what this function has always done

    def wait_for_one(one: str) -> OpenAIBatch:
        provider = get_provider_by_base_url(str(client.base_url))
        batch = Batch(batch_id=one, provider=provider)
        batch._api = OpenAIBatchApi(provider, client=client)  # noqa: SLF001 - a batch makes its own client otherwise
        ended = follow(lambda: batch.status(**status_kwargs), interval=interval, on_status=on_status, provider=provider)
        batch.download(**status_kwargs)
        if finished_callback is not None:
            finished_callback(ended)
        return ended

    if isinstance(batch_id, str):
        return wait_for_one(batch_id)
    return [wait_for_one(one) for one in batch_id]
