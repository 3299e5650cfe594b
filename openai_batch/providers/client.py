"""Make an SDK client from plain values: base URL, key and headers.

The SDK is imported inside functions, since importing it takes longer than everything else together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.net.hosts import is_loopback, is_openai

from .config_file import local_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai import OpenAI


def make_client(base_url: str, key: str | None, headers: Mapping[str, str] | None = None) -> OpenAI:
    """Return an SDK client that sends `key` and `headers` to the host of `base_url`, and nothing else of ours.

    Without a key no Authorization header is sent. Redirects are not followed: that would send prompts, and a
    second POST, to another address. A server on this machine is reached without any proxy.
    """
    from openai import DefaultHttpxClient, Omit, OpenAI

    host = urlsplit(base_url).hostname
    sent: dict[str, Any] = dict(headers or {})
    if not is_openai(base_url):
        sent |= {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}
    hooks: dict[str, Any] = {} if key else {"request": [_without_authorization]}
    return OpenAI(
        base_url=base_url,
        api_key=key or "none",
        default_headers=sent,
        http_client=DefaultHttpxClient(follow_redirects=False, trust_env=not is_loopback(host), event_hooks=hooks),
    )


def local_endpoint(starting: Callable[[str, int, int | None], None] | None = None) -> tuple[str, str]:
    """Return base URL and token of the local provider's server; start it if none runs.

    `starting` is told what is being prepared: (what, bytes done, bytes in all or None). Raises ConfigError if its
    settings are invalid, BatchError if it does not start.
    """
    from openai_batch.local import launch
    from openai_batch.local.settings import LocalSettings

    endpoint = launch.ensure_running(LocalSettings.from_mapping(local_table()), progress=starting)
    return endpoint.base_url, endpoint.token


def sdk_model_names() -> list[str]:
    """Return the names of OpenAI's embedding and chat models that the installed SDK knows."""
    from typing import get_args

    from openai.types import ChatModel, EmbeddingModel

    return [*get_args(EmbeddingModel), *get_args(ChatModel)]


def _without_authorization(request: Any) -> None:
    """Remove the key that the SDK insists on where the provider needs none."""
    request.headers.pop("Authorization", None)
