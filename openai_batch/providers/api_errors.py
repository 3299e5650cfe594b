"""Turn the errors of the SDK and its HTTP library into ours, and remove the key from every message.

They are also errors of the SDK's own classes (`sdk_errors`). A provider's refusal because its queue is full is an
ordinary ApiError here; `jobs/token_limit` recognises it.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai_batch.errors import PASSING, ApiError, AuthError, BatchError, NotFoundError, UnreachableError
from openai_batch.hidden_keys import SHORTEST, hide_key, without_key, without_used_keys
from openai_batch.net.delays import retry_after

from .keys import bare_key, is_secret
from .port import OutcomeUnknown
from .remedies import remedy
from .sdk_errors import as_both

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .provider import Provider

# Exceptions which prove that the request was not sent, by name: the HTTP library is never imported here.
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})

_STATUS_HINTS = {
    402: "top up the account at the provider; trying again does not help before that",
    413: "the file is too large for this provider: set max_bytes in its profile, and the input is split",
}

_QUOTED = 500  # the most characters of a provider's message that are shown

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


@contextlib.contextmanager
def translated(provider: Provider, doing: str) -> Iterator[None]:
    """Turn the errors of the SDK and its HTTP library into ours, without the key.

    `doing` completes the sentence "could not ...". Raises UnreachableError if no answer came, AuthError for 401 and
    403, NotFoundError for 404, and ApiError for every other answer.
    """
    try:
        yield
    except (BatchError, OutcomeUnknown):
        raise
    except Exception as exc:
        error = _ours(provider, doing, exc)
        _hide_sent_keys(exc)
        if error is None:
            raise
        raise error from None


@contextlib.contextmanager
def perhaps_paid() -> Iterator[None]:
    """Turn the error of an answer that cannot be read, such as one that is too large, into an UnreachableError."""
    try:
        yield
    except ApiError as exc:
        if exc.status is not None or isinstance(exc, UnreachableError):
            raise
        raise UnreachableError(exc.message, hint=exc.hint) from None


def _ours(provider: Provider, doing: str, exc: Exception) -> BatchError | None:
    """Return our error for one of the SDK or its HTTP library; None for any other."""
    import openai

    if isinstance(exc, openai.APIStatusError):
        keys = _sent_keys(exc)
        shown = ("body", "param", "type", "request_id")
        theirs = {name: _body_without(keys, getattr(exc, name, None)) for name in shown}
        return as_both(_from_status(provider, doing, exc), exc, **theirs)
    if isinstance(exc, openai.APIConnectionError):
        if isinstance(exc.__cause__, BatchError):  # of `net/answers`
            return exc.__cause__
        return as_both(_from_connection(provider, doing, exc.__cause__ or exc, _sent_keys(exc)), exc)
    if isinstance(exc, TimeoutError):  # of `net/answers`
        return as_both(_from_connection(provider, doing, exc, []), openai.APITimeoutError(_request_of(exc)))
    if isinstance(exc, openai.OpenAIError):
        return as_both(ApiError(f"could not {doing} at {provider}: {_without((), str(exc))}"), exc)
    # A broken stream raises an exception of the HTTP library, which is recognised by the name of its module.
    if type(exc).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
        error = _from_connection(provider, doing, exc, _sent_keys(exc))
        return as_both(error, openai.APIConnectionError(request=_request_of(exc)))
    return None


def _hide_sent_keys(exc: BaseException | None) -> None:
    """Remove the keys from the requests in an exception and its causes.

    Python keeps the exception that was being handled with the one that is raised, so programs that show or store errors
    would find them.
    """
    while exc is not None:
        if (request := _request_of(exc)) is not None:
            for name, value in list(request.headers.items()):
                if is_secret(name, value) or without_used_keys(value) != value:
                    request.headers[name] = "(hidden)"
        exc = exc.__cause__ or exc.__context__


def _from_status(provider: Provider, doing: str, exc: Any) -> BatchError:
    status, keys = int(exc.status_code), _sent_keys(exc)
    message = _without(keys, _server_message(exc))[:_QUOTED]
    what = f"could not {doing}: {provider} said {status}" + (f": {message}" if message else "")
    if status in (401, 403):
        variable = f" in {provider.api_key_env_var}" if provider.api_key_env_var else ""
        known = keys or provider.headers
        unsent = "no key was sent: name its variable in the profile's api_key_env"
        return AuthError(what, hint=f"check the key{variable} and its permissions" if known else unsent)
    code = _without(keys, str(exc.code)) if exc.code else None
    hint = remedy(code, message)
    if status == 404:  # noqa: PLR2004
        whole = urlsplit(str(exc.request.url)).path.rstrip("/").endswith(("/files", "/batches"))
        unknown = "is this the account, project and provider that created it?"
        return NotFoundError(what, hint=hint or (_base_url_hint(provider) if whole else unknown))
    if 300 <= status < 400:  # noqa: PLR2004
        location = _without(keys, exc.response.headers.get("location", ""))
        target = urlsplit(location).hostname or "elsewhere"
        hint = f"it points to {target}: if that is right, make it the profile's base_url"
        return ApiError(what, hint=hint, status=status)
    lasting = 400 <= status < 500 and (bool(hint) or status not in PASSING)  # noqa: PLR2004 - HTTP's own
    if lasting and not hint:
        hint = _STATUS_HINTS.get(status, "it would be refused again: change what the message names")
    return ApiError(
        what,
        hint=hint,
        status=status,
        api_code=code,
        retry_after=retry_after(exc.response.headers),
        lasting=lasting,
    )


def _base_url_hint(provider: Provider) -> str:
    return (
        f"check the provider's base URL, {provider.base_url}: most end in /v1; a server without a Batch API is named as"
        " upstream in [providers.local]"
    )


def _from_connection(provider: Provider, doing: str, exc: BaseException, keys: Sequence[str]) -> UnreachableError:
    # Only explicit causes: the context may be an unrelated error that was being handled when the request was sent.
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    sent = type(exc).__name__ not in _NEVER_SENT
    reason = next(filter(None, map(_reason, reversed(chain))), type(exc).__name__)
    if "Timeout" in type(exc).__name__:
        reason = "no answer in time"
    hint = f"check the network, and the provider's base URL, {provider.base_url}"
    lasting = "CERTIFICATE" in reason.upper()
    if lasting:
        hint = "the certificate was not accepted; SSL_CERT_FILE names the authorities to trust"
    return UnreachableError(
        f"could not {doing}: {provider} cannot be reached ({_without(keys, reason)})",
        hint=hint,
        sent=sent,
        lasting=lasting,
    )


def _reason(exc: BaseException) -> str:
    """Return the text of an exception; for system errors, without the number."""
    text = str(exc)
    plain = _ERRNO.sub("", text)
    return text if plain == text else plain[:1].lower() + plain[1:]


def _server_message(exc: Any) -> str:
    """Return the provider's own message on one line, long enough to remove a key at its end."""
    body = exc.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(body, str):
        body = ""
    if body.lstrip().startswith("<"):
        body = "(a web page)"
    return " ".join(body[: 10 * _QUOTED].split())


def without_sent_key(response: Any) -> bytes:
    """Return an answer's body without the keys of its request, unless one is shorter than SHORTEST."""
    body: bytes = response.content
    keys = [key for key in _keys_of(response.request) if len(key) >= SHORTEST]
    return _without(keys, body.decode("latin-1")).encode("latin-1")


def _without(keys: Sequence[str], text: str) -> str:
    """Return `text` without the keys, which some servers repeat in their messages."""
    for key in keys:
        hide_key(key)
        if len(key) < SHORTEST:
            text = without_key(key, text)
    return without_used_keys(text)


def _body_without(keys: Sequence[str], body: Any) -> Any:
    """Return the body of an answer, a text or decoded JSON, without the keys."""
    if isinstance(body, str):
        return _without(keys, body)
    if isinstance(body, dict):
        return {name: _body_without(keys, value) for name, value in body.items()}
    return [_body_without(keys, value) for value in body] if isinstance(body, list) else body


def _sent_keys(exc: Any) -> list[str]:
    """Return the keys that the failed request carried."""
    request = _request_of(exc)
    return [] if request is None else _keys_of(request)


def _request_of(exc: Any) -> Any:
    """Return the request that failed; None if that is not known."""
    try:
        return exc.request
    except (AttributeError, RuntimeError):  # the HTTP library raises RuntimeError if it knows no request
        return None


def _keys_of(request: Any) -> list[str]:
    """Return the keys in a request's headers, the longest first."""
    found = [bare_key(value) for name, value in request.headers.items() if is_secret(name, value)]
    return sorted(filter(None, found), key=len, reverse=True)
