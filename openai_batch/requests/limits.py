"""What a provider accepts in one batch input file."""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_EMBEDDING_INPUTS = 50_000
"""OpenAI's cap on embedding inputs summed over one file (its API specification)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider accepts in one file; None means that no limit is known."""

    max_requests: int | None = 50_000
    max_bytes: int | None = 200_000_000
    max_line_bytes: int | None = None
    one_model: bool = True
    endpoints: tuple[str, ...] = ()
    max_embedding_inputs: int | None = MAX_EMBEDDING_INPUTS

    def of_lines(self) -> Limits:
        """Return what holds for each line by itself: what concerns the whole file, splitting it can mend."""
        return replace(
            self,
            max_requests=None,
            max_bytes=None,
            max_line_bytes=min((n for n in (self.max_line_bytes, self.max_bytes) if n is not None), default=None),
            one_model=False,
            max_embedding_inputs=None,
        )
