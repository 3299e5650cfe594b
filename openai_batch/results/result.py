"""One request's result as a Python object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from .result_line import read_outcome, text_of


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one request."""

    custom_id: str
    """The id of the request."""
    ok: bool
    """Whether the request succeeded."""
    status_code: int | None = None
    """The HTTP status; None if there was no response."""
    body: Any = None
    """The body of the response, decoded; None if there was none."""
    error: str | None = None
    """Why the request failed, in a few words; None if it succeeded."""
    text: str | None = None
    """The answer as text; None if the request failed. Tool calls are JSON; vectors and images are in the `body`."""
    usage: dict[str, Any] = field(default_factory=dict)
    """The tokens that the provider counted, by kind."""

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Read a result line, as `Job.download` writes it."""
        outcome = read_outcome(line)
        usage = outcome.body.get("usage") if isinstance(outcome.body, dict) else None
        return cls(
            custom_id=outcome.custom_id,
            ok=outcome.success,
            status_code=outcome.status if isinstance(outcome.status, int) else None,
            body=outcome.body,
            error=None if outcome.success else outcome.cause,
            text=text_of(outcome.body) if outcome.success else None,
            usage=usage if isinstance(usage, dict) else {},
        )
