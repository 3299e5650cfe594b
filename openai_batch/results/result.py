"""One request's result as Python has it: decoded, judged, and read-only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from .result_line import outcome_of, text_of


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request.

    - `ok`: whether it has a success; otherwise `error` says why not, in few words.
    - `status_code`, `body`: the provider's answer, decoded; both None where there was none.
    - `text`: the answer as a person reads it, None without a success. Tool calls are JSON; vectors and images are
      in the `body`.
    - `usage`: the tokens that the answer says it took, by kind.
    """

    custom_id: str
    ok: bool
    status_code: int | None = None
    body: Any = None
    error: str | None = None
    text: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Read a result line, as `Job.download` writes them."""
        found = outcome_of(line)
        usage = found.body.get("usage") if isinstance(found.body, dict) else None
        return cls(
            custom_id=found.custom_id,
            ok=found.success,
            status_code=found.status if isinstance(found.status, int) else None,
            body=found.body,
            error=None if found.success else found.cause,
            text=text_of(found.body) if found.success else None,
            usage=usage if isinstance(usage, dict) else {},
        )
