"""What is said of an order before it is paid: what would be sent, what need not be, and which input it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .output import counted, errors

if TYPE_CHECKING:
    from openai_batch._order import Order
    from openai_batch._reuse import Look

    from .session import Session


def origin_of(files: list[str] | None, table: str | None, sql: str | None, target: Path | None) -> str | None:
    """Return what tells the same input another day, grown as it may be: its names; for a pipe, where its results go."""
    if files and "-" in files:
        return None if target is None else f"-> {target.absolute()}"
    paths = [str(Path(file).expanduser().absolute()) for file in files or []]
    return json.dumps([*paths, *(word for word in (table, sql) if word)]) if paths else f"{Path.cwd()}: {sql}"


def say_dry(current: Session, order: Order, found: Look | None = None) -> None:
    """Say what an order would do, and what it would leave out as far as that was looked for."""
    from openai_batch._reuse import expected

    known = current.flow.registry.by_identity(order.identity)
    if known is not None:
        errors.note(f"this is job {known.id}, started before: nothing new would be sent without --again")
        return
    if found is not None:
        order = expected(found)
    report, slices = order.checked.report, order.checked.slices
    model = f" with model {report.model}" if report.model else ""
    requests = sum(piece.requests for piece in slices)
    if not requests:
        errors.note(f"nothing would be sent: {counted(report.requests, 'row')} were in earlier jobs")
        return
    batches = "a batch" if len(slices) == 1 else f"{len(slices):,} batches"
    errors.note(
        f"would upload {sum(piece.length for piece in slices):,} bytes to {order.provider} and create {batches} of"
        f" {counted(requests, 'request')} for {report.endpoint}{model}; nothing was sent"
    )
    if words := spared_words(order):
        errors.note(words)
    if found is not None and found.common:
        errors.note("what earlier jobs turn out to have no answer to would be sent as well")


def spared_words(order: Order) -> str:
    """Say how many rows are not sent, and why; nothing where all are."""
    sparing = order.sparing
    if sparing is None or not sparing.count:
        return ""
    rows = order.checked.report.requests
    reasons = [
        f"{sparing.repeated:,} repeated" if sparing.repeated else "",
        f"{sparing.answered:,} answered before" if sparing.answered else "",
    ]
    told = ", ".join(reason for reason in reasons if reason)
    return f"{counted(rows - sparing.count, 'request')} for {counted(rows, 'row')} ({told})"
