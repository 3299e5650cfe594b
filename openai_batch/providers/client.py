"""Make an SDK client that sends one profile's key and headers to that profile's base URL, and nowhere else.

It follows no redirect, and only OpenAI gets OpenAI's organisation and project headers. `keys` says where the key comes
from. The SDK is imported inside functions, since it is slow to import.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.net.hosts import is_loopback, is_openai

from .config_file import local_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai import OpenAI


def make_client(base_url: str, key: str | None, headers: Mapping[str, str] | None = None) -> OpenAI:
    """Return an SDK client that sends `key` and `headers` to `base_url`.

    Without a key it sends no Authorization header. It reaches a server on this machine without a proxy.
    """
    from openai import Omit, OpenAI

    host = urlsplit(base_url).hostname
    sent: dict[str, Any] = dict(headers or {})
    # The SDK reads these two from OPENAI_ORG_ID and OPENAI_PROJECT_ID.
    if not is_openai(base_url):
        own = {name.lower() for name in sent}
        sent |= {name: Omit() for name in ("OpenAI-Organization", "OpenAI-Project") if name.lower() not in own}
    hooks: dict[str, Any] = {} if key else {"request": [_without_authorization]}
    # A redirect would send the key, the prompts, and a second request for a batch to another address.
    return OpenAI(
        base_url=base_url,
        api_key=key or "none",
        default_headers=sent,
        http_client=_http_client_class()(follow_redirects=False, trust_env=not is_loopback(host), event_hooks=hooks),
    )


@functools.cache
def _http_client_class() -> Any:
    """Return the SDK's HTTP client, which closes its connections when nothing uses it any more."""
    from openai import DefaultHttpxClient

    class HttpClient(DefaultHttpxClient):
        def __del__(self) -> None:
            with contextlib.suppress(Exception):  # at the end of the program anything may be gone
                self.close()

    return HttpClient


def local_endpoint(starting: Callable[[str, int, int | None], None] | None = None) -> tuple[str, str]:
    """Return the base URL and the token of the local provider's server. It is started if none runs.

    `starting` is called with the progress: (what is prepared, bytes done, bytes in all or None). Raises ConfigError if
    the server's settings are invalid, BatchError if it does not start.
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
    """Remove the header that the SDK always sends. It is called before each request to a provider without a key."""
    request.headers.pop("Authorization", None)
