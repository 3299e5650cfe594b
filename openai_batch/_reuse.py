"""Plan what of an order need not be sent: requests that ask the same as others, or what an earlier job has answered.

An earlier job is one of the same input, grown or changed since, or of the same output. It must have ended before its
answers are taken, so that nothing is paid twice; they are kept in its folder then (`_spared.Answers`), since a
provider does not hold them for ever.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import _jobfiles
from ._collect import keep_answers
from ._keys import repeats, shared, write_keys
from ._profile import normal_url
from ._spared import OWN, Spared, Sparing, read_records
from ._split import sort_out
from .errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ._jobs import Job
    from ._order import Order
    from ._workflow import Workflow

MAX_EARLIER = 20
"""How many earlier jobs are looked at, the newest first."""


@dataclass(slots=True)
class Plan:
    """An order with what came of looking at it. `used` are the earlier jobs that it shares rows with.

    `grown` are those of them all of whose rows it has; `common` counts its rows that they have too.
    """

    order: Order
    common: int = 0
    used: list[Job] = field(default_factory=list)
    grown: list[Job] = field(default_factory=list)


def plan(
    flow: Workflow,
    order: Order,
    folder: Path,
    *,
    dedup: bool,
    earlier: bool = True,
    output: str | None = None,
    ended: Callable[[Job], Job] | None = None,
) -> Plan:
    """Return the order with what need not be sent left out of its slices.

    `dedup` leaves out requests that ask the same as an earlier row, `earlier` what earlier jobs have answered; `ended`
    waits for one of these to end, and returns it (None: they are looked at, and nothing is taken). `output` is the
    path that the results shall have. `folder` is a work folder. Raises NotFoundError where an earlier job's answers
    cannot be had any more.
    """
    keys = folder / "keys"
    checked = order.checked
    with checked.path.open("rb") as requests, keys.open("wb") as out:
        write_keys(requests, out, with_ids=not dedup)
    found = Plan(order)
    stores: list[str] = []
    repeated = answered = 0
    path = folder / "spared"
    with Spared(path, checked.report.requests) as spared:
        if dedup:
            for row, first in repeats(keys, folder):
                spared[row] = (OWN, first + 1)
                repeated += 1
        if earlier:
            flow.look_back(order.provider)
            for job in flow.registry.earlier(order.origin, output, MAX_EARLIER):
                if _same_place(order, job):
                    answered += _take(flow, job, keys, folder, spared, stores, found, ended)
        if answered and repeated:
            repeated, answered = _resolve(path, spared)
    sparing = Sparing(keys, folder / "origin", path, folder / "stores", repeated, answered)
    sparing.origin.write_text(order.origin or "", encoding="utf-8", errors="surrogateescape")
    sparing.stores.write_text("".join(f"{name}\n" for name in stores), encoding="utf-8")
    if sparing.count:
        limits = order.provider.limits
        with checked.path.open("rb") as source:
            slices = sort_out(source, folder, limits, _wanted(path), by_model=limits.one_model)
        checked = replace(checked, slices=tuple(slices), folder=folder)
    found.order = replace(order, checked=checked, sparing=sparing)
    return found


def _same_place(order: Order, job: Job) -> bool:
    return (
        job.identity != order.identity
        and normal_url(job.base_url) == normal_url(str(order.provider.base_url))
        and job.endpoint == order.checked.report.endpoint
    )


def _take(
    flow: Workflow,
    job: Job,
    keys: Path,
    folder: Path,
    spared: Spared,
    stores: list[str],
    found: Plan,
    ended: Callable[[Job], Job] | None,
) -> int:
    """Take the answers that an earlier job has to rows that are not answered yet; return how many."""
    theirs = _jobfiles.keys_of(job)
    if theirs is None:
        return 0
    pairs = folder / "pairs"
    common = 0
    still_open = bytearray(spared.rows // 8 + 1)
    with pairs.open("w", encoding="ascii") as out:
        for row, other in shared(keys, theirs, folder):
            out.write(f"{row} {other}\n")
            common += 1
            if spared[row] == (OWN, 0):
                still_open[row >> 3] |= 1 << (row & 7)
    if not common:
        return 0
    found.used.append(job)
    found.common += sum(byte.bit_count() for byte in still_open)
    if common == job.requests:
        found.grown.append(job)
    if not any(still_open) or ended is None:
        return 0
    job = ended(job)
    taken = 0
    with ExitStack() as stack, pairs.open(encoding="ascii") as source:
        answer_of = _answers(flow, job, stores, stack)
        for line in source:
            row, other = map(int, line.split())
            if spared[row] == (OWN, 0) and (answer := answer_of(other)) is not None:
                spared[row] = answer
                taken += 1
    return taken


def _answers(flow: Workflow, job: Job, stores: list[str], stack: ExitStack) -> Callable[[int], tuple[int, int] | None]:
    """Return what tells where the answer to a row of an ended job lies: (store, place), or None."""
    try:
        own = keep_answers(flow, job)
    except NotFoundError as exc:
        raise NotFoundError(
            f"job {job.id} answered rows of this input, and its results cannot be had any more ({exc})",
            hint="--again sends, and pays, every row once more",
        ) from exc
    places = stack.enter_context(own.places.open("rb"))
    path = _jobfiles.spared_of(job)
    theirs = None if path is None else stack.enter_context(Spared(path, job.requests))
    names = _jobfiles.store_names(job)

    def number_of(name: str) -> int:
        if name not in stores:
            stores.append(name)
        return stores.index(name) + 1

    def answer_of(row: int) -> tuple[int, int] | None:
        store, place = (OWN, 0) if theirs is None else theirs[row]
        if store != OWN:
            return number_of(names[store - 1]), place
        place = own.place_of(place - 1 if place else row, places)
        return (number_of(_jobfiles.name_of(own.lines)), place) if place else None

    return answer_of


def _resolve(path: Path, spared: Spared) -> tuple[int, int]:
    """Point the rows whose original is answered elsewhere there too; return how many rows are of which kind."""
    repeated = answered = 0
    for row, (store, place) in enumerate(read_records(path)):
        if store == OWN and place:
            record = spared[place - 1]
            if record[0] != OWN:
                spared[row] = record
                answered += 1
            else:
                repeated += 1
        elif place:
            answered += 1
    return repeated, answered


def _wanted(path: Path) -> Iterator[bool]:
    for _, place in read_records(path):
        yield place == 0


def wait_for(flow: Workflow, timeout: float | None = None) -> Callable[[Job], Job]:
    """Return what waits for an earlier job of the same input to end; what of that is not sent yet never will be.

    It raises what waiting raises, and UncertainError where it is unknown what was sent.
    """

    def ended(job: Job) -> Job:
        if job.ended:
            return job
        if job.waiting:
            flow.reporter.note(f"what job {job.id} of this input has not sent yet is left to the new job")
            job = flow.withdraw(job)
        if not job.ended:
            flow.reporter.note(f"job {job.id} runs rows of this input; waiting for it, so that none is paid twice")
            job = flow.wait(job, timeout=timeout)
        return job

    return ended
