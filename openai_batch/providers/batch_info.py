"""Read a provider's batch object. Servers leave out different fields, and spell the statuses in different ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISHED = ("failed", "completed", "expired", "cancelled")
"""The final statuses. Every other one, known or not, means that the batch still runs."""

_LARGEST = 2**53
"""A larger count or time is taken as absent."""

_SYNONYMS = {
    "canceled": "cancelled",
    "canceling": "cancelling",
    "progress": "in_progress",
    "running": "in_progress",
    "processing": "in_progress",
    "queued": "validating",
    "pending": "validating",
    "pre_schedule": "validating",
    "succeeded": "completed",
    "success": "completed",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """A batch's numbers of requests, as the provider counts them; 0 if it does not say."""

    total: int = 0  # all of them
    completed: int = 0  # those that succeeded
    failed: int = 0  # those that failed

    @property
    def done(self) -> int:
        """How many have ended."""
        return self.completed + self.failed


@dataclass(frozen=True, slots=True)
class BatchFault:
    """One entry of a failed batch's `errors`."""

    code: str | None  # the provider's own code
    message: str
    line: int | None = None  # of the input file, counted from 1
    param: str | None = None  # the key of the request that is wrong

    def __str__(self) -> str:
        """Return the message, with the line and the code if there are any."""
        where = f"line {self.line}: " if self.line is not None else ""
        code = f" ({self.code})" if self.code else ""
        return f"{where}{self.message}{code}"


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """A batch as its provider last showed it.

    Times are in Unix seconds by the provider's clock. A field is None or empty if the provider does not say it.
    """

    id: str  # such as "batch_…"
    status: str  # a standard word such as "in_progress", or a word of the provider that we do not know, in lower case
    endpoint: str | None = None  # such as "/v1/chat/completions"
    model: str | None = None  # the model of its requests
    input_file_id: str | None = None  # the uploaded requests
    output_file_id: str | None = None  # the results that succeeded
    error_file_id: str | None = None  # the results that failed
    counts: Counts = field(default_factory=Counts)  # how many requests it has, and how many have ended
    errors: tuple[BatchFault, ...] = ()  # why the batch as a whole failed
    metadata: dict[str, str] = field(default_factory=dict)  # the user's, and our marks (`create_once`)
    created_at: float | None = None
    expires_at: float | None = None
    ended_at: float | None = None  # when it was completed, failed, expired or cancelled
    usage: dict[str, int] = field(default_factory=dict)  # tokens used, such as "total_tokens"
    raw: Any = field(default=None, compare=False, repr=False)  # the SDK's own object

    @property
    def finished(self) -> bool:
        """Whether the batch has ended."""
        return self.status in FINISHED


def read_batch(data: Mapping[str, Any], status_map: Mapping[str, str] | None = None, raw: Any = None) -> BatchInfo:
    """Read a batch object. A value that is missing, null, empty or of a wrong type is taken as absent.

    `status_map` maps the provider's own status words to the standard ones. `raw` is the SDK's object of the batch.
    Raises ValueError if there is no id.
    """
    inner = data.get("job")
    if isinstance(inner, dict) and "id" not in data:
        data = inner  # one provider wraps a batch that it has just created
    batch_id = data.get("id")
    if not isinstance(batch_id, str) or not batch_id:
        raise ValueError("the answer holds no batch id")
    word = _clean(str(data.get("status") or "unknown").lower())
    status = (status_map or {}).get(word) or _SYNONYMS.get(word, word)
    ended = [_time(data.get(f"{name}_at")) for name in FINISHED]
    return BatchInfo(
        id=_clean(batch_id),
        status=status,
        endpoint=_text(data.get("endpoint")),
        model=_text(data.get("model")),
        input_file_id=_text(data.get("input_file_id")),
        output_file_id=_text(data.get("output_file_id")),
        error_file_id=_text(data.get("error_file_id")),
        counts=_counts(data.get("request_counts")),
        errors=_errors(data.get("errors")),
        metadata={_clean(str(k)): _clean(str(v)) for k, v in (_dict(data.get("metadata"))).items()},
        created_at=_time(data.get("created_at")),
        expires_at=_time(data.get("expires_at")),
        ended_at=next((time for time in ended if time is not None), None),
        usage={k: v for k, v in _dict(data.get("usage")).items() if isinstance(v, int)},
        raw=raw,
    )


def _text(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """Return `text` without lone surrogates: JSON may hold them, and SQLite and UTF-8 files cannot."""
    return text.encode("utf-8", "replace").decode()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _counts(value: Any) -> Counts:
    known = _dict(value)
    numbers = [known.get(name) for name in ("total", "completed", "failed")]
    return Counts(*(n if isinstance(n, int) and 0 < n < _LARGEST else 0 for n in numbers))


def _time(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST:
        return float(value)
    if isinstance(value, str) and value:
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return None
    return None


def _errors(value: Any) -> tuple[BatchFault, ...]:
    entries = _dict(value).get("data") if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return ()
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            line = entry.get("line")
            found.append(
                BatchFault(
                    code=_text(entry.get("code")),
                    message=_text(entry.get("message")) or "no reason given",
                    line=line if isinstance(line, int) and line < _LARGEST else None,
                    param=_text(entry.get("param")),
                )
            )
        elif entry:
            found.append(BatchFault(code=None, message=_clean(str(entry))))
    return tuple(found)
