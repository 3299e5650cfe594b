"""What a check goes by, and what it gives: limits, rows, chunks, problems, and the report of a whole file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from openai_batch.errors import Problem


class Row(msgspec.Struct, frozen=True, gc=False):
    """One request's place: 1-based line, byte offset and length without the newline, and its key fields.

    `inputs` counts what one embedding request embeds, and is 1 for any other.
    """

    line: int
    offset: int
    length: int
    custom_id: str
    url: str
    model: str | None
    inputs: int = 1


@dataclass(frozen=True, slots=True)
class RequestChunk:
    """One or more acceptable requests that follow each other in a file: one item per request in each list."""

    data: bytes
    """Their lines as they are sent, each with its newline."""
    lines: list[bytes]
    """The same lines one by one, without their newlines."""
    url: str
    """The endpoint of all of them."""
    ids: list[str]
    """Their custom ids."""
    models: list[str | None]
    """The models that they name."""
    inputs: list[int]
    """How many texts each embedding request embeds; 1 for any other request."""
    bodies: list[msgspec.Raw]
    """Their bodies as they stand in the file."""


@dataclass(slots=True)
class Report:
    """What a file holds and what is wrong with it.

    `problems` is capped; `problem_count` and `warning_count` are not.
    `models` maps each model to the line that first named it. `n_bytes` counts a newline after the last line,
    there or not. `as_sent` says whether each line stands as it would be sent: no byte order mark, CR or blank line.
    """

    requests: int = 0
    n_bytes: int = 0
    lines: int = 0
    endpoint: str | None = None
    models: dict[str, int] = field(default_factory=dict)
    embedding_inputs: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    warning_count: int = 0
    as_sent: bool = True

    @property
    def model(self) -> str | None:
        """The first model named, or None."""
        return next(iter(self.models), None)

    @property
    def ok(self) -> bool:
        """Whether the file can be sent."""
        return self.problem_count == 0

    @property
    def errors(self) -> list[Problem]:
        """The problems that forbid sending."""
        return [p for p in self.problems if not p.warning]
