"""Choose the adapter that speaks a provider's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .port import BatchApi
    from .provider import Provider


def connect(provider: Provider, *, starting: Callable[[str, int, int | None], None] | None = None) -> BatchApi:
    """Return the calls to a provider; nothing is sent.

    `starting` is called with the progress of starting the local provider's server: (what is prepared, bytes done, bytes
    in all or None).
    """
    if provider.shards is not None:
        from .shards_api import ShardsApi

        return ShardsApi(provider)
    from .openai_api import OpenAIBatchApi

    return OpenAIBatchApi(provider, starting=starting)
