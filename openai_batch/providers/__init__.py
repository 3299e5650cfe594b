"""Providers: the URL of a Batch API, where its key is, its limits, and the calls to it.

    from openai_batch.providers import get_provider_by_name

    provider = get_provider_by_name("parasail")

Holds: a profile (`provider`), the built-in ones (`builtin`, and the files in `profiles`), finding one (`lookup`), the
configuration file (`config`, `config_file`, `config_edit`), keys and the host of each (`keys`, `client`), the calls
that every provider has (`port`), for OpenAI's protocol (`openai_api`, `api_errors`, `sdk_errors`, `plain_client`,
`batch_info`) and for a store with workers (`shards_api`), creating a batch once (`attempt`, `create_once`, `marks`),
polling (`polling`), and checking a server (`doctor`). `jobs/token_limit` tells when a provider's queue is full.

May import: `cluster`, `local`, `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `provider.py`, then
`port.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch._lazy import lazy_names

if TYPE_CHECKING:
    from .builtin import all_providers, openai_provider, parasail_provider
    from .lookup import (
        askable_providers,
        get_provider_by_base_url,
        get_provider_by_model,
        get_provider_by_name,
        known_providers,
        pick_provider,
    )
    from .provider import Provider

    openai_models: list[str]

__all__ = [
    "Provider",
    "all_providers",
    "askable_providers",
    "get_provider_by_base_url",
    "get_provider_by_model",
    "get_provider_by_name",
    "known_providers",
    "openai_models",
    "openai_provider",
    "parasail_provider",
    "pick_provider",
]

_BUILT_IN = dict.fromkeys(("all_providers", "openai_provider", "parasail_provider"), "builtin")
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "lookup") | _BUILT_IN | {"Provider": "provider"})
