"""One request's result as Python has it: decoded, judged, and read-only."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from ._results import answer_text


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
        custom_id, ok, text = answer_text(line)
        response = msgspec.json.decode(line).get("response") or {}
        status, body = response.get("status_code"), response.get("body")
        if isinstance(body, str):
            with contextlib.suppress(msgspec.MsgspecError):
                body = msgspec.json.decode(body)
        usage = body.get("usage") if isinstance(body, dict) else None
        return cls(
            custom_id=custom_id,
            ok=ok,
            status_code=status if isinstance(status, int) else None,
            body=body,
            error=None if ok else text,
            text=text if ok else None,
            usage=usage if isinstance(usage, dict) else {},
        )
