"""Turn the errors of the SDK and its HTTP library into ours, and remove the key from every message.

A provider's refusal because its queue is full is an ordinary ApiError here; `jobs/token_limit` recognises it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, UnreachableError
from openai_batch.net.delays import retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .provider import Provider

# Exceptions which prove that the request was not sent, by name: the HTTP library is never imported here.
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})

_SHORTEST_SECRET = 16
"""Characters of the shortest key that is removed from an answer's body: a shorter one may be a common word."""


class OutcomeUnknown(Exception):  # noqa: N818 - not an error yet: a search may find the batch
    """It is unknown whether a batch was created."""


@contextlib.contextmanager
def translated(provider: Provider, doing: str) -> Iterator[None]:
    """Turn the errors of the SDK and its HTTP library into ours, without the key.

    `doing` completes the sentence "could not ...". Raises UnreachableError if no answer came, AuthError for 401 and
    403, NotFoundError for 404, and ApiError for every other answer.
    """
    import openai

    try:
        yield
    except (BatchError, OutcomeUnknown):
        raise
    except openai.APIStatusError as exc:
        raise _from_status(provider, doing, exc) from None
    except openai.APIConnectionError as exc:
        raise _from_connection(provider, doing, exc.__cause__ or exc, _sent_key(exc)) from None
    except openai.OpenAIError as exc:
        raise ApiError(f"could not {doing} at {provider}: {exc}") from None
    except Exception as exc:
        # A broken stream raises an exception of the HTTP library, which is recognised by the name of its module.
        if type(exc).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise _from_connection(provider, doing, exc, _sent_key(exc)) from None


def _from_status(provider: Provider, doing: str, exc: Any) -> BatchError:
    status, key = int(exc.status_code), _sent_key(exc)
    message = _without_key(key, _server_message(exc))
    what = f"could not {doing}: {provider} said {status}" + (f": {message}" if message else "")
    if status in (401, 403):
        variable = f" in {provider.api_key_env_var}" if provider.api_key_env_var else ""
        return AuthError(what, hint=f"check the key{variable} and what it may do")
    if status == 404:  # noqa: PLR2004
        return NotFoundError(what, hint="is it the account, project and provider that made it?")
    if 300 <= status < 400:  # noqa: PLR2004
        location = _without_key(key, exc.response.headers.get("location", ""))
        target = urlsplit(location).hostname or "elsewhere"
        hint = f"it points to {target}: if that is right, make it the profile's base_url"
        return ApiError(what, hint=hint, status=status)
    code = _without_key(key, str(exc.code)) if exc.code else None
    return ApiError(what, status=status, api_code=code, retry_after=retry_after(exc.response.headers))


def _from_connection(provider: Provider, doing: str, exc: BaseException, key: str) -> UnreachableError:
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    sent = type(exc).__name__ not in _NEVER_SENT
    reason = next((text for text in (str(item) for item in reversed(chain)) if text), type(exc).__name__)
    if "Timeout" in type(exc).__name__:
        reason = "no answer in time"
    hint = ""
    lasting = "CERTIFICATE" in reason.upper()
    if lasting:
        hint = "the certificate was not accepted; SSL_CERT_FILE names the authorities to trust"
    return UnreachableError(
        f"could not {doing}: {provider} cannot be reached ({_without_key(key, reason)})",
        hint=hint,
        sent=sent,
        lasting=lasting,
    )


def _server_message(exc: Any) -> str:
    """Return the provider's own message, on one line, cut to 500 characters."""
    body = exc.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(body, str):
        body = ""
    if body.lstrip().startswith("<"):
        body = "(a web page)"
    return " ".join(body.split())[:500]


def without_sent_key(response: Any) -> bytes:
    """Return an answer's body without the key of its request, unless that is under _SHORTEST_SECRET characters."""
    key = _key_of(response.request).encode()
    body: bytes = response.content
    return body.replace(key, b"(key)") if len(key) >= _SHORTEST_SECRET else body


def _without_key(key: str, text: str) -> str:
    """Return `text` without the key, which some servers repeat in their messages."""
    return text.replace(key, "(key)") if key else text


def _sent_key(exc: Any) -> str:
    """Return the key that the failed request carried, or an empty string."""
    try:
        return _key_of(exc.request)
    except (AttributeError, RuntimeError):  # the HTTP library raises RuntimeError if it knows no request
        return ""


def _key_of(request: Any) -> str:
    return str(request.headers.get("authorization", "")).removeprefix("Bearer ")
