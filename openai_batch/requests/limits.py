"""What a provider accepts in one batch input file."""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_EMBEDDING_INPUTS = 50_000
"""OpenAI's limit for the embedding inputs of all requests of one file (from its API specification)."""

MAX_FILE_BYTES = 200 * 1024 * 1024
"""The largest file of the local provider, in bytes, unless its settings have another limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider accepts in one file. None means that no limit is known."""

    max_requests: int | None = 50_000  # the number of requests
    max_bytes: int | None = 200_000_000  # the size of the file in bytes
    max_line_bytes: int | None = None  # the length of one line in bytes, without its newline
    one_model: bool = True  # whether all requests must name the same model
    endpoints: tuple[str, ...] = ()  # the paths of the endpoints that accept batches; empty if not known
    max_embedding_inputs: int | None = MAX_EMBEDDING_INPUTS  # the number of embedding inputs in all requests together

    def of_lines(self) -> Limits:
        """Return the limits that apply to a single line. The others can be met by splitting the file."""
        return replace(
            self,
            max_requests=None,
            max_bytes=None,
            max_line_bytes=min((n for n in (self.max_line_bytes, self.max_bytes) if n is not None), default=None),
            one_model=False,
            max_embedding_inputs=None,
        )


NO_LIMITS = Limits(max_requests=None, max_bytes=None, one_model=False, max_embedding_inputs=None)
