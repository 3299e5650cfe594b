"""How the checks of `obatch doctor` and `obatch providers test` are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import errors, print_json
from .table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.errors import BatchError
    from openai_batch.providers.doctor import Finding

    from .output import Output

COLUMNS = (
    Column.of("check", "name", str),
    Column.of("state", "state", str),
    Column.of("found", "text", str, wrap=True),
)


def show_findings(output: Output, findings: Sequence[Finding], record: dict[str, Any]) -> None:
    """Print the checks, then the profile; in a pipe it goes to standard error, and -q prints only the profile."""
    rows: list[dict[str, Any]] = [
        {"name": each.name, "state": each.state, "text": each.text, "hint": each.hint} for each in findings
    ]
    profile = (record.get("profile") or "").splitlines()
    if output.as_json:
        print_json(record | {"checks": rows})
        return
    if output.quiet:
        output.lines(profile)
        return
    output.listing(rows, COLUMNS, "name", "")
    for each in findings:
        if each.hint and each.state in ("warning", "unknown"):
            errors.hint(f"{each.name}: {each.hint}")
    if profile:
        errors.note("settings that fit this server:")
        (output.lines if output.terminal else errors.details)(profile)


def fault_of(findings: Sequence[Finding]) -> BatchError | None:
    """Return the error of the first check that failed, with the others below it; None if none failed."""
    failed = [each.error for each in findings if each.error is not None]
    if not failed:
        return None
    failed[0].details = (*failed[0].details, *(error.message for error in failed[1:]))
    return failed[0]
