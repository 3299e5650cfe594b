"""What a check returns: accepted requests, one by one or in chunks, and the report about the whole file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.errors import Problem


class Row(msgspec.Struct, frozen=True, gc=False):
    """One accepted request, and where it is in the file."""

    line: int  # the number of its line, from 1
    offset: int  # where its line begins, in bytes
    length: int  # the length of its line in bytes, without the newline
    custom_id: str  # its custom id
    url: str  # its endpoint
    model: str | None  # the model that it names, or None
    inputs: int = 0  # how many texts an embedding request embeds; 0 for any other request


@dataclass(frozen=True, slots=True)
class RequestChunk:
    """One or more accepted requests in the order of the file. Each list has one item per request."""

    data: bytes  # their lines as they are sent, each with a newline
    lines: list[bytes]  # the same lines one by one, without their newlines
    url: str  # the endpoint of all of them
    ids: list[str]  # their custom ids
    models: list[str | None]  # the models that they name; None for a request without one
    inputs: list[int]  # how many texts each embedding request embeds; 0 for any other request
    bodies: list[dict[str, Any]]  # their bodies, decoded


@dataclass(slots=True)
class CheckReport:
    """What is in a file and what is wrong with it."""

    requests: int = 0  # the number of requests, good or not
    n_bytes: int = 0  # the size in bytes, counting a newline after the last line even if it has none
    lines: int = 0  # the number of lines, with blank ones
    endpoint: str | None = None  # the endpoint of the requests; None if no line names one
    # Each model, with the number of the first line that names it (at most `max_problems` models).
    models: dict[str, int] = field(default_factory=dict)
    embedding_inputs: int = 0  # the embedding inputs of all requests together; 0 for a request of another kind
    problems: list[Problem] = field(default_factory=list)  # the problems and warnings; only the first problems are kept
    problem_count: int = 0  # the number of all problems, listed or not, without warnings
    codes: Counter[str] = field(default_factory=Counter)  # the number of problems by code
    warning_count: int = 0  # the number of warnings
    as_sent: bool = True  # whether every line can be sent unchanged: no byte order mark, no CR, no blank line

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
        """The listed problems without the warnings: the file cannot be sent with them."""
        return [p for p in self.problems if not p.warning]


def problem_lines(name: str, problems: Sequence[Problem], count: int, outcome: str | None = None) -> list[str]:
    """Return one line for each problem, as `file:line: message: remedy`, and how many of `count` are not listed.

    `name` is the file of all problems that do not name a file. With `outcome` ("nothing was sent"), the first line says
    how many problems `name` has, and the outcome.
    """
    lines = [problem.located(name) for problem in problems]
    if outcome is not None:
        lines.insert(0, f"{name} has {count_text(count, 'problem')}; {outcome}")
    if count > len(problems):
        lines.append(f"… and {count - len(problems):,} more")
    return lines
