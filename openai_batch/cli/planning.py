"""What `run` finds out before it pays: which rows need not be sent, and whether the output may be written."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .output import counted, errors

if TYPE_CHECKING:
    from openai_batch._jobs import Job
    from openai_batch._order import Order
    from openai_batch._reuse import Look

    from .session import Session


def origin_of(files: list[str] | None, table: str | None, sql: str | None, target: Path | None) -> str | None:
    """Return what tells the same input another day, grown as it may be: its names; for a pipe, where its results go."""
    if files and "-" in files:
        return None if target is None else f"-> {target.absolute()}"
    paths = [str(Path(file).expanduser().absolute()) for file in files or []]
    return json.dumps([*paths, *(word for word in (table, sql) if word)]) if paths else f"{Path.cwd()}: {sql}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an order is to be planned: what was asked for, and where its results go."""

    dedup: bool
    again: bool
    target: Path | None
    force: bool
    timeout: float | None
    resubmit_uncertain: bool
    check_remote: bool


def look_at(current: Session, order: Order, folder: Path, terms: Terms) -> Look:
    """Look what of an order is repeated or was in earlier jobs; ask nobody."""
    from openai_batch._reuse import look

    output = None if terms.target is None else str(terms.target.absolute())
    return look(current.flow, order, folder, dedup=terms.dedup, earlier=not terms.again, output=output)


def submit_rest(current: Session, order: Order, folder: Path, terms: Terms) -> tuple[Job, bool, Order]:
    """Submit what of an order need be sent, and return its job, whether that is new, and the order as planned.

    An earlier job that has rows of it is waited for. Raises OutputExistsError, or RegistryError where the job's name
    is taken, before anything is paid or waited for.
    """
    from openai_batch._registry import OvertakenError

    while True:
        found = look_at(current, order, folder, terms)
        known = None if terms.again else current.flow.registry.by_identity(order.identity)
        _check(current, found, known, terms)
        planned = _settled(current, found, known, terms)
        try:
            job, new = current.flow.submit(
                planned,
                again=terms.again,
                resubmit_uncertain=terms.resubmit_uncertain,
                check_remote=terms.check_remote,
            )
        except OvertakenError:
            continue
        return job, new, planned


def _check(current: Session, found: Look, known: Job | None, terms: Terms) -> None:
    from openai_batch._output import check_output

    if terms.target is not None:
        check_output(current.flow, terms.target, known, found.earlier, force=terms.force)
    if known is None:
        current.flow.registry.check_name(found.order.name, found.earlier)


def _settled(current: Session, found: Look, known: Job | None, terms: Terms) -> Order:
    """Return the order without what need not be sent; where it has its job, the plan of that stands."""
    from openai_batch._jobfiles import has_ids
    from openai_batch._reuse import settled, wait_for

    if known is not None and has_ids(known):
        return replace(found.order, earlier=found.earlier)
    wait = wait_for(current.flow, terms.timeout, resubmit_uncertain=terms.resubmit_uncertain)

    def ended(job: Job) -> Job:
        current.job = job
        return wait(job)

    order = settled(current.flow, found, ended)
    current.job = None
    return order


def say_dry(current: Session, order: Order, found: Look | None = None) -> None:
    """Say what an order would do, and what it would leave out as far as that was looked for."""
    from openai_batch._reuse import settled

    known = current.flow.registry.by_identity(order.identity)
    if known is not None:
        errors.note(f"this is job {known.id}, started before; nothing new would be sent without --again")
    if found is not None:
        order = settled(current.flow, found, None)
    report, slices = order.checked.report, order.checked.slices
    model = f" with model {report.model}" if report.model else ""
    requests = sum(piece.requests for piece in slices)
    batches = "a batch" if len(slices) == 1 else f"{len(slices):,} batches"
    errors.note(
        f"would upload {sum(piece.length for piece in slices):,} bytes to {order.provider} and create {batches} of"
        f" {counted(requests, 'request')} for {report.endpoint}{model}; nothing was sent"
    )
    if words := spared_words(order):
        errors.note(words)
    if found is not None and found.common:
        errors.note(
            f"{counted(found.common, 'request')} of these were in earlier jobs; what these answered would not be sent"
        )


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
