"""Make an SDK client that sends one profile's key and headers to that profile's base URL, and nowhere else.

It follows no redirect, and only OpenAI gets OpenAI's organisation and project headers. `keys` says where the key comes
from. The SDK is imported inside functions, since it is slow to import.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.errors import PASSING, ConfigError, UsageError
from openai_batch.hidden_keys import hide_key
from openai_batch.net.answers import certificates, limited_client
from openai_batch.net.delays import retry_after
from openai_batch.net.hosts import is_http_url, is_loopback, is_openai
from openai_batch.net.time_limit import seconds_left

from .config_file import local_settings
from .keys import certificate_files
from .remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from openai import OpenAI

_NO_KEY = "none"  # a placeholder for the SDK, which requires a key; it is not sent


def make_client(
    base_url: str, key: str | None, headers: Mapping[str, str] | None = None, *, is_local: bool = False
) -> OpenAI:
    """Return an SDK client that sends `key` and `headers` to `base_url`.

    Without a key it sends no Authorization header. It reaches a server on this machine without a proxy. One of the
    local provider (`is_local`) sends nothing once the server has ended. Raises UsageError for another kind of URL.
    """
    from openai import Omit, OpenAI

    if not is_http_url(base_url):
        raise UsageError(f"{base_url!r} is not an http(s) URL", hint="for example https://api.example.com/v1")
    hide_key(key or "")
    # JSON answers are small. Of a file, a compressed part could not be continued after an interruption.
    sent: dict[str, Any] = {"Accept-Encoding": "identity"} | dict(headers or {})
    # The SDK reads these two from OPENAI_ORG_ID and OPENAI_PROJECT_ID.
    if not is_openai(base_url):
        own = {name.lower() for name in sent}
        sent |= {name: Omit() for name in ("OpenAI-Organization", "OpenAI-Project") if name.lower() not in own}
    hooks = [*([_only_while_it_runs] if is_local else []), *([] if key else [_without_authorization])]
    return OpenAI(
        base_url=base_url, api_key=key or _NO_KEY, default_headers=sent, http_client=_http_client(base_url, hooks)
    )


def own_connections(client: OpenAI) -> OpenAI:
    """Return a copy of a client of `make_client` with its own connections.

    A request that takes too long closes all connections of its client, so each thread needs its own.
    """
    hooks = [_without_authorization] if client.api_key == _NO_KEY else []
    return client.with_options(http_client=_http_client(str(client.base_url), hooks))


def _http_client(base_url: str, hooks: Sequence[Callable[[Any], None]]) -> Any:
    from openai import DefaultHttpxClient

    trusting = not is_loopback(urlsplit(base_url).hostname)
    try:
        return limited_client(
            DefaultHttpxClient,
            _stop_hopeless_tries,
            # A redirect would send the key, the prompts, and a second request for a batch to another address.
            follow_redirects=False,
            trust_env=trusting,
            verify=certificates(DefaultHttpxClient, certificate_files(), trust_env=trusting),
            event_hooks={"request": [*hooks]},
        )
    except OSError as exc:
        raise ConfigError(
            f"the certificates cannot be read ({exc.strerror or type(exc).__name__})",
            hint="correct or unset SSL_CERT_FILE and SSL_CERT_DIR",
        ) from None
    except Exception as exc:  # noqa: BLE001 - what is wrong with a proxy has no common class, and may hold its password
        hint = "correct or unset HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        if isinstance(exc, ImportError):
            hint = "pip install socksio, or name an HTTP proxy in HTTPS_PROXY"
        raise ConfigError("the proxy that the environment names cannot be used", hint=hint) from None


def send_file(client: Any, file: tuple[str, Any], fields: Mapping[str, str], path: str | None = None) -> Any:
    """Upload a file (name and content) with these form fields, and return the raw answer; None means the usual path.

    `{name}` in a field means the name of the file.
    """
    fields = {key: value.replace("{name}", file[0]) for key, value in fields.items()}
    if path is None:
        more = {key: value for key, value in fields.items() if key != "purpose"}
        options: dict[str, Any] = {"extra_body": more} if more else {}
        return client.files.with_raw_response.create(file=file, purpose=fields["purpose"], **options)
    from openai import HttpxBinaryResponseContent

    answer = client.post(
        path,
        cast_to=HttpxBinaryResponseContent,
        body=fields,
        files=[("file", file)],
        options={"headers": {"Content-Type": "multipart/form-data"}},
    )
    return SimpleNamespace(http_response=answer.response)


def local_endpoint(
    starting: Callable[[str, int, int | None], None] | None = None, *, as_is: bool = False
) -> tuple[str, str]:
    """Return the base URL and the token of the local provider's server. It is started if none runs.

    `starting` is called with the progress: (what is prepared, bytes done, bytes in all or None). Raises ConfigError if
    the server's settings are invalid, and BatchError if it does not start, or if it has other settings than the
    configuration file and may not be replaced now; with `as_is`, it is used anyway.
    """
    from openai_batch.local import launch

    endpoint = launch.ensure_running(local_settings(), progress=starting, as_is=as_is)
    return endpoint.base_url, endpoint.token


def sdk_model_names() -> list[str]:
    """Return the names of OpenAI's embedding and chat models that the installed SDK knows."""
    from typing import get_args

    from openai.types import ChatModel, EmbeddingModel

    return [*get_args(EmbeddingModel), *get_args(ChatModel)]


def dry_run_batch(batch_id: str) -> Any:
    """Return an SDK batch object for a dry run: it says that the batch is completed."""
    from openai.types.batch import Batch

    return Batch(
        id=batch_id,
        object="batch",
        status="completed",
        completion_window="24h",
        created_at=0,
        endpoint="/v1/chat/completions",
        input_file_id="file-dry-run-input",
        output_file_id="file-dry-run-output",
        error_file_id="file-dry-run-error",
    )


def _without_authorization(request: Any) -> None:
    """Remove the header that the SDK always sends. It is called before each request to a provider without a key."""
    request.headers.pop("Authorization", None)


def _only_while_it_runs(request: Any) -> None:
    """Raise APIConnectionError if the local server has ended: another user may have its port by now."""
    from openai import APIConnectionError

    from openai_batch.files.locks import is_held
    from openai_batch.local.launch import server_lock

    if not is_held(server_lock()):
        raise APIConnectionError(message="the local server has ended", request=request)


def _stop_hopeless_tries(response: Any) -> None:
    """Keep the SDK from retrying a request after a lasting error, or when the time will be over."""
    lasts = response.status_code in PASSING and remedy(None, response.text)
    left = seconds_left(None)
    if lasts or (left is not None and (retry_after(response.headers) or 0.0) >= left):
        response.headers["x-should-retry"] = "false"
