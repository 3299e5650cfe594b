"""What `run` finds out before it pays: which rows need not be sent, and whether the output may be written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .output import counted

if TYPE_CHECKING:
    from openai_batch._jobs import Job
    from openai_batch._order import Order
    from openai_batch._reuse import Plan

    from .session import Session


def origin_of(files: list[str] | None, table: str | None, sql: str | None) -> str | None:
    """Return what tells the same input another day, grown as it may be; None for a pipe."""
    if files and "-" in files:
        return None
    paths = [str(Path(file).expanduser().absolute()) for file in files or []]
    return json.dumps([*paths, *(word for word in (table, sql) if word)]) if paths else f"{Path.cwd()}: {sql}"


def make_plan(
    current: Session,
    order: Order,
    folder: Path,
    *,
    dedup: bool,
    again: bool,
    target: Path | None,
    known: Job | None,
    timeout: float | None = None,
    dry: bool = False,
) -> Plan:
    """Leave out of an order what need not be sent; an earlier job that has rows of it is waited for.

    Where the order's job is `known`, its plan stands, and earlier jobs are looked at for their output only.
    """
    from openai_batch._jobfiles import has_ids
    from openai_batch._reuse import plan, wait_for

    def ended(job: Job) -> Job:
        current.job = job
        return wait_for(current.flow, timeout)(job)

    stands = known is not None and has_ids(known)
    found = plan(
        current.flow,
        order,
        folder,
        dedup=dedup,
        earlier=not again,
        output=None if target is None else str(target.absolute()),
        ended=None if dry or stands else ended,
    )
    current.job = None
    return replace(found, order=order) if stands else found


def claim(target: Path, known: Job | None, found: Plan, *, force: bool) -> tuple[bool, bool]:
    """Tell whether what lies at the target may be replaced, and whether it is to be moved aside.

    The results of a job all of whose rows the new one has, and that nobody has touched, may be replaced; with fewer
    of its rows they are moved. Raises OutputExistsError for anything else, before anything is paid.
    """
    from openai_batch._collect import may_be_ours
    from openai_batch._files import check_target, stamp

    ours = may_be_ours(known, target)
    if not force and target.is_file():
        for job in found.used:
            if job.output_path == str(target.absolute()):
                untouched = job.output_stamp == stamp(target)
                if untouched and any(other.id == job.id for other in found.grown):
                    return True, False
                # Ours as well after a kill just before, or just after, it was published: then only what is surely
                # theirs is moved, and the same bytes are published again.
                if untouched or not ours:
                    return False, True
    check_target(target, force=force or ours)
    return force, False


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
