"""The text of a list of problems, for error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.errors import Problem


def problems_text(name: str, problems: Sequence[Problem], count: int, outcome: str | None = None) -> str:
    """Return one line for each problem, as `file:line: message: remedy`, and how many of `count` are not listed.

    `name` is the file of all problems that do not name a file. With `outcome` ("nothing was sent"), the first line says
    how many problems `name` has, and the outcome.
    """
    lines = [problem.located(name) for problem in problems]
    if outcome is not None:
        lines.insert(0, f"{name} has {count:,} {'problem' if count == 1 else 'problems'}; {outcome}")
    if count > len(problems):
        lines.append(f"… and {count - len(problems):,} more")
    return "\n".join(lines)
