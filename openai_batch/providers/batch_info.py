"""Read a provider's batch object. Servers leave out different fields, and spell the statuses in different ways.

This is the one place where ids, statuses, counts and times of a server are checked: its results can be stored, shown
and put into a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISHED = ("failed", "completed", "expired", "cancelled")
"""The final statuses. Every other one, known or not, means that the batch still runs."""

STATUSES = ("validating", "in_progress", "finalizing", "cancelling", *FINISHED)  # the standard words
PHASES = ("in_progress", "finalizing", "cancelling")  # the statuses for which a batch shows when it reached them
_LARGEST = 2**53  # a larger count is ignored
_ID = re.compile(r"[\w.:/@=+~-]{1,512}", re.ASCII)  # what an id looks like, with the characters that known servers use
_FIRST, _LAST = 946_684_800.0, 4_102_444_800.0  # the years 2000 to 2099 in Unix seconds: any other time is ignored

_UNITS = (1.0, 1e3, 1e6, 1e9)
"""What a time is divided by until it is plausible: some servers give milliseconds, microseconds or nanoseconds."""

_MAX_STATUS, _MAX_TEXT, _MAX_ERRORS = 64, 2000, 1000
"""Characters of a status and of any other text, and entries of `errors`, that are kept."""

_SYNONYMS = {
    word: status
    for status, words in {
        "validating": ("queued", "pending", "waiting", "created", "submitted", "scheduled", "pre_schedule", "accepted"),
        "in_progress": ("progress", "running", "processing", "executing", "started", "active", "inprogress"),
        "finalizing": ("finishing", "postprocessing"),
        "cancelling": ("canceling", "aborting"),
        "completed": ("complete", "done", "finished", "succeeded", "success", "successful"),
        "failed": ("failure", "fail", "error", "errored"),
        "expired": ("timeout", "timed_out", "timedout"),
        "cancelled": ("canceled", "aborted"),
    }.items()
    for word in words
}
"""Words of servers that mean a standard one. A word that may mean several, such as "ended", is not here."""


_AFFIXES = re.compile("^(batch_|job_)?(state|status)_")  # what some servers put before each status word


@dataclass(frozen=True, slots=True)
class Counts:
    """A batch's numbers of requests, as the provider counts them; 0 if it does not say."""

    total: int = 0
    """All of them."""
    completed: int = 0
    """Those that succeeded."""
    failed: int = 0
    """Those that failed."""

    @property
    def done(self) -> int:
        """How many have ended."""
        return self.completed + self.failed


@dataclass(frozen=True, slots=True)
class BatchFault:
    """One entry of a failed batch's `errors`."""

    code: str | None
    """The provider's own code."""
    message: str
    """Its words."""
    line: int | None = None
    """The line of the input file, counted from 1."""
    param: str | None = None
    """The key of the request that is wrong."""

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
    phases: dict[str, float] = field(default_factory=dict)  # when it reached each of PHASES
    usage: dict[str, int] = field(default_factory=dict)  # tokens used, such as "total_tokens"
    raw: Any = field(default=None, compare=False, repr=False)  # the SDK's own object

    @property
    def finished(self) -> bool:
        """Whether the batch has ended."""
        return self.status in FINISHED


def read_batch(data: Mapping[str, Any], status_map: Mapping[str, str] | None = None, raw: Any = None) -> BatchInfo:
    """Read a batch object. A value that is missing, null, empty or of a wrong type is ignored.

    `status_map` maps the provider's own status words to the standard ones. `raw` is the SDK's object of the batch.
    Raises ValueError if there is no id, or one with characters that no id has.
    """
    inner = data.get("job")
    if isinstance(inner, dict) and "id" not in data:
        data = inner  # one provider wraps a batch that it has just created
    batch_id = read_id(data.get("id"))
    if batch_id is None:
        raise ValueError("the answer has no batch id")
    word = " ".join(_clean(str(data.get("status") or "unknown").lower()).split())[:_MAX_STATUS]
    status = (status_map or {}).get(word) or standard_status(word)
    ended = [read_time(data.get(f"{name}_at")) for name in FINISHED]
    return BatchInfo(
        id=batch_id,
        status=status,
        endpoint=_text(data.get("endpoint")),
        model=_text(data.get("model")) or _text(data.get("model_id")),
        input_file_id=read_id(data.get("input_file_id")),
        output_file_id=read_id(data.get("output_file_id")),
        error_file_id=read_id(data.get("error_file_id")),
        counts=_counts(data.get("request_counts") or data),  # some have the counts in the batch itself
        errors=_errors(data.get("errors") or data.get("error")),
        metadata={_clean(str(k)): _clean(str(v)) for k, v in (_dict(data.get("metadata"))).items()},
        created_at=read_time(data.get("created_at")),
        expires_at=read_time(data.get("expires_at")) or read_time(data.get("job_deadline")),
        ended_at=next((time for time in ended if time is not None), None),
        phases={name: time for name in PHASES if (time := read_time(data.get(f"{name}_at"))) is not None},
        usage={_clean(k): _count(v) for k, v in _dict(data.get("usage")).items() if _count(v)},
        raw=raw,
    )


def standard_status(word: str) -> str:
    """Return the standard word that a server's word means; the word itself if that is not clear."""
    plain = _AFFIXES.sub("", word.replace(" ", "_").replace("-", "_"))
    return plain if plain in STATUSES else _SYNONYMS.get(plain, word)


def unknown_status(word: str) -> str:
    """Return the message about a status word that we do not know."""
    mapped = f'status_map = {{ "{word}" = "completed" }}'
    return f'the status "{word}" is not known, and counts as running; if it is an end, add {mapped} to the profile'


def read_id(value: Any) -> str | None:
    """Return the id of a batch or file; None if it is missing, or has characters that no id has."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def read_time(value: Any) -> float | None:
    """Return a time in Unix seconds, also if the server has given it in a smaller unit or as ISO 8601.

    None if it is missing or not plausible.
    """
    number: float | None = None
    if isinstance(value, str):
        try:
            number = float(value) if value.isdecimal() else _iso(value)
        except (ValueError, OverflowError):
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LAST * _UNITS[-1]:
        number = float(value)
    if number is None:
        return None
    return next((number / unit for unit in _UNITS if _FIRST <= number / unit < _LAST), None)


def _iso(text: str) -> float:
    """Return an ISO 8601 time in Unix seconds; one without an offset is UTC."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _text(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """Return the start of `text` without lone surrogates: JSON may contain them, but SQLite and UTF-8 files cannot."""
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _counts(value: Any) -> Counts:
    known = _dict(value)
    return Counts(*(_count(known.get(name)) for name in ("total", "completed", "failed")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST else 0


def _errors(value: Any) -> tuple[BatchFault, ...]:
    entries = value.get("data") if isinstance(value, dict) else [value] if isinstance(value, str) else value
    if not isinstance(entries, list):
        return ()
    found = []
    for entry in entries[:_MAX_ERRORS]:
        if isinstance(entry, dict):
            found.append(
                BatchFault(
                    code=_text(entry.get("code")),
                    message=_text(entry.get("message")) or "no reason given",
                    line=_count(entry.get("line")) or None,
                    param=_text(entry.get("param")),
                )
            )
        elif entry:
            found.append(BatchFault(code=None, message=_clean(str(entry))))
    return tuple(found)
