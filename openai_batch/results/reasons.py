"""Why a request failed: the provider's code and message, in errors of any shape, and whether a new try can help."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from openai_batch.hidden_keys import beginning

_QUOTED = 200  # the most characters of a message in a cause

# Codes for a request that was refused because of its content.
_DECLINED = re.compile(
    r"content_?filter|content_?policy|invalid_prompt|moderation_?blocked|responsibleai|policy_?violation|refus",
    re.IGNORECASE,
)
# In a provider's code or message, these say that the request itself must change: it would fail again.
_HOPELESS = re.compile(
    r"context_length|context length|maximum context|content_filter|content_policy|refus|invalid_request|invalid_type"
    r"|invalid_value|unsupported|unknown_parameter|model_not_found|does not exist",
    re.IGNORECASE,
)
# HTTP client errors that may be temporary.
_PASSING = frozenset({408, 409, 425, 429})

# Where a message is, in an error or in a body.
_MESSAGES = ("message", "detail", "msg", "error_message", "reason", "errors", "error")

# The values of `status` in a body that is not an answer.
_UNFINISHED = frozenset({"failed", "cancelled", "canceled", "expired", "queued", "in_progress", "error"})


@dataclass(frozen=True, slots=True)
class ResultError:
    """Why a request failed. As text, it is the code and the message: `429: slow down`."""

    code: str | int | None
    """The provider's code, or else the HTTP status."""
    message: str
    """The provider's own message; empty if there is none."""
    retryable: bool
    """Whether sending the request again can help."""
    status: int | None = None
    """The HTTP status, if it says that the request failed."""

    @property
    def declined(self) -> bool:
        """Whether the request was refused because of its content."""
        return isinstance(self.code, str) and _DECLINED.search(self.code) is not None

    def __str__(self) -> str:
        """Return the code and the message in a few words."""
        codes = [str(code) for code in (self.status, self.code) if code is not None]
        head, text = " ".join(dict.fromkeys(codes)), beginning(" ".join(self.message.split()), _QUOTED)
        return f"{head}: {text}" if head and text else head or text or "unknown error"


def failed_with(error: Any, status: int | None = None) -> ResultError:
    """Return the reason in an error, or in a body with an error. `status` is an HTTP status that says so itself."""
    code, message = _code(error), _message(error)
    made = ResultError(status if code is None else code, message, False, status)
    if made.declined:
        return made
    if status is not None and status < 500:  # noqa: PLR2004 - HTTP's own numbers
        helps = status in _PASSING or status < 400  # noqa: PLR2004
    else:
        helps = _HOPELESS.search(f"{code} {message}") is None
    return replace(made, retryable=helps)


def own_failure(body: Any) -> Any:
    """Return the error in a body that reports itself as failed, or not as done; None for any other body."""
    if not isinstance(body, dict):
        return None
    if has_content(body.get("error")):
        return body
    status = body.get("status")
    if isinstance(status, str) and status.lower() in _UNFINISHED:
        return {"code": status.lower(), "message": f"the provider reports this answer as {status}"}
    return body if body.get("object") == "error" or body.get("success") is False else None


def has_content(value: Any) -> bool:
    """Return whether an error contains anything: it is not empty, and not an object with only empty members."""
    if isinstance(value, dict):
        return any(has_content(item) for item in value.values())
    return bool(value)


def _inner(error: Any) -> list[Any]:
    """Return where to look for a code and a message: in the `error` of a body before the body."""
    if isinstance(error, dict) and has_content(error.get("error")):
        return [error["error"], {name: value for name, value in error.items() if name != "error"}]
    return [error]


def _code(error: Any) -> str | int | None:
    for place in _inner(error):
        if not isinstance(place, dict):
            continue
        deeper = place.get("innererror")
        for code in (place.get("code"), place.get("type"), deeper.get("code") if isinstance(deeper, dict) else None):
            if isinstance(code, str) and _DECLINED.search(code):
                return code
        code = place.get("code")
        if isinstance(code, str | int) and not isinstance(code, bool) and code:
            return code
    return None


def _message(error: Any) -> str:
    for place in _inner(error):
        if text := _words(place):
            return text
    return _quoted(error)


def _words(value: Any) -> str:
    """Return the message in a value. FastAPI has a list, with the place and the message of each problem."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "; ".join(filter(None, map(_words, value)))
    if not isinstance(value, dict):
        return ""
    words = next(filter(None, (_words(value.get(name)) for name in _MESSAGES)), "")
    place = value.get("loc")
    return f"{'.'.join(map(str, place))}: {words}" if isinstance(place, list) and words else words


def _quoted(error: Any) -> str:
    """Return an error without a message as JSON; empty if it has only a code."""
    rest = _inner(error)[0]
    if isinstance(rest, dict):
        rest = {name: value for name, value in rest.items() if name not in ("code", "object")}
    if not has_content(rest):
        return ""
    return rest if isinstance(rest, str) else beginning(msgspec.json.encode(rest).decode(), _QUOTED)
