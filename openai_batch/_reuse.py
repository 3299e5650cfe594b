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
from ._keys import paired, repeats, write_keys
from ._order import Earlier, Order
from ._profile import normal_url
from ._spared import OWN, Spared, Sparing, read_records
from ._split import sort_out
from .errors import NotFoundError, UnknownProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ._inputs import Checked
    from ._jobs import Job
    from ._workflow import Workflow

MAX_EARLIER = 100
"""How many earlier jobs are compared with an input, the newest first."""


@dataclass(slots=True)
class Look:
    """What looking at an order, and at the earlier jobs that it shares rows with, has told; nobody was asked.

    `common` counts its rows that they have too. `sparing` is of the repeated rows alone so far.
    """

    order: Order
    sparing: Sparing
    dedup: bool
    folder: Path
    earlier: Earlier = field(default_factory=Earlier)
    common: int = 0
    shared: list[tuple[Job, Path]] = field(default_factory=list)


def look(
    flow: Workflow, order: Order, folder: Path, *, dedup: bool, earlier: bool = True, output: str | None = None
) -> Look:
    """Find the requests of an order that ask the same, if `dedup`, and with `earlier` the jobs that have had its rows.

    `output` is the path that the results shall have, `folder` a work folder.
    """
    checked = order.checked
    sparing = Sparing(folder / "keys", folder / "origin", folder / "spared", folder / "stores")
    with checked.path.open("rb") as requests, sparing.keys.open("wb") as out:
        write_keys(requests, out)
    sparing.origin.write_text(order.origin or "", encoding="utf-8", errors="surrogateescape")
    repeated = 0
    with Spared(sparing.path, checked.report.requests) as spared:
        if dedup:
            for row, first in repeats(sparing.keys, folder):
                spared[row] = (OWN, first + 1)
                repeated += 1
        found = Look(order, replace(sparing, repeated=repeated), dedup, folder)
        if earlier:
            flow.look_back(order.provider)
            _compare(flow, found, spared, output)
    return found


def _compare(flow: Workflow, found: Look, spared: Spared, output: str | None) -> None:
    """Find the jobs that share rows with an order, the newest first, until each of its rows has been in one."""
    order, rows = found.order, found.order.checked.report.requests
    used, grown = set(), set()
    newest = 0
    seen = bytearray(rows // 8 + 1)
    compared = 0
    for number in flow.registry.earlier(order.origin, output, order.checked.report.endpoint):
        newest = max(newest, number)
        job = flow.registry.job(number)
        theirs = _jobfiles.keys_of(job)
        if theirs is None or not _same_place(order, job) or compared >= MAX_EARLIER:
            continue
        if found.common + found.sparing.repeated >= rows and job.output_path != output:
            continue
        compared += 1
        pairs = found.folder / f"pairs-{number}"
        shared = _write_pairs(found, theirs, pairs, spared, seen)
        if shared:
            used.add(number)
            found.shared.append((job, pairs))
        if shared == job.requests:
            grown.add(number)
    found.earlier = Earlier(frozenset(used), frozenset(grown), newest)


def _write_pairs(found: Look, theirs: Path, target: Path, spared: Spared, seen: bytearray) -> int:
    """Write (row, their row) where an order asks what another job did; return how many of their rows it has."""
    shared = 0
    with target.open("w", encoding="ascii") as out:
        for row, other in paired(found.sparing.keys, theirs, found.folder, once=found.dedup):
            shared += 1
            out.write(f"{row} {other}\n")
            if spared[row] == (OWN, 0) and not seen[row >> 3] >> (row & 7) & 1:
                seen[row >> 3] |= 1 << (row & 7)
                found.common += 1
    return shared


def _same_place(order: Order, job: Job) -> bool:
    same = normal_url(job.base_url) == normal_url(str(order.provider.base_url))
    return same and job.identity != order.identity


def settled(flow: Workflow, found: Look, ended: Callable[[Job], Job] | None) -> Order:
    """Return the order with what need not be sent left out of its slices.

    `ended` waits for an earlier job to end, and returns it; None takes nothing of earlier jobs. Raises NotFoundError
    where the answers of one cannot be had any more.
    """
    order, sparing = found.order, found.sparing
    stores: list[str] = []
    if ended is not None:
        with Spared(sparing.path, order.checked.report.requests) as spared:
            flow.connect(order.provider)
            for job, pairs in found.shared:
                if _any_open(pairs, spared):
                    _take(flow, ended(job), pairs, spared, stores, once=found.dedup)
            sparing = _counted(sparing, spared)
    sparing.stores.write_text("".join(f"{name}\n" for name in stores), encoding="utf-8")
    checked = _without_spared(order, sparing, found.folder) if sparing.count else order.checked
    return replace(order, checked=checked, sparing=sparing, earlier=found.earlier)


def _any_open(pairs: Path, spared: Spared) -> bool:
    with pairs.open(encoding="ascii") as source:
        return any(spared[int(line.partition(" ")[0])] == (OWN, 0) for line in source)


def _take(flow: Workflow, job: Job, pairs: Path, spared: Spared, stores: list[str], *, once: bool) -> None:
    """Take the answers that an earlier job has to rows that are not answered yet."""
    with ExitStack() as stack, pairs.open(encoding="ascii") as source:
        answer_of = _answers(flow, job, stores, stack, once=once)
        for line in source:
            row, other = map(int, line.split())
            if spared[row] == (OWN, 0) and (answer := answer_of(other)) is not None:
                spared[row] = answer


def _answers(
    flow: Workflow, job: Job, stores: list[str], stack: ExitStack, *, once: bool
) -> Callable[[int], tuple[int, int] | None]:
    """Return what tells where the answer to a row of an ended job lies: (store, place), or None.

    Without `once`, where each row is to have an answer of its own, those that share one have none.
    """
    try:
        own = keep_answers(flow, job)
        names = _stores(job)
    except UnknownProviderError:
        raise
    except NotFoundError as exc:
        raise NotFoundError(
            f"job {job.id} answered rows of this input, and its results cannot be had any more ({exc})",
            hint="--again sends, and pays, every row once more",
        ) from exc
    places = stack.enter_context(own.places.open("rb"))
    path = _jobfiles.spared_of(job)
    theirs = None if path is None else stack.enter_context(Spared(path))

    def number_of(name: str) -> int:
        if name not in stores:
            stores.append(name)
        return stores.index(name) + 1

    def answer_of(row: int) -> tuple[int, int] | None:
        store, place = (OWN, 0) if theirs is None else theirs[row]
        if store != OWN:
            return number_of(names[store - 1]), place
        if place and not once:
            return None
        place = own.place_of(place - 1 if place else row, places)
        return (number_of(_jobfiles.name_of(own.lines)), place) if place else None

    return answer_of


def _stores(job: Job) -> list[str]:
    """Return the names of a job's stores. Raises NotFoundError if one is not there any more."""
    for path in _jobfiles.stores_of(job):
        if not path.exists():
            raise NotFoundError(f"{path} is gone")
    return _jobfiles.store_names(job)


def _counted(sparing: Sparing, spared: Spared) -> Sparing:
    """Point the rows whose original is answered elsewhere there too, and count the rows of each kind."""
    repeated = answered = 0
    for row, (store, place) in enumerate(read_records(sparing.path)):
        if store == OWN and place:
            record = spared[place - 1]
            if record[0] != OWN:
                spared[row] = record
                answered += 1
            else:
                repeated += 1
        elif place:
            answered += 1
    return replace(sparing, repeated=repeated, answered=answered)


def _without_spared(order: Order, sparing: Sparing, folder: Path) -> Checked:
    limits = order.provider.limits
    with order.checked.path.open("rb") as source:
        slices = sort_out(source, folder, limits, _wanted(sparing.path), by_model=limits.one_model)
    return replace(order.checked, slices=tuple(slices), folder=folder)


def _wanted(path: Path) -> Iterator[bool]:
    for _, place in read_records(path):
        yield place == 0


def wait_for(flow: Workflow, timeout: float | None = None, *, resubmit_uncertain: bool = False) -> Callable[[Job], Job]:
    """Return what waits for an earlier job of the same input to end; what of that is not sent yet never will be.

    It raises what waiting raises, and UncertainError where it is unknown what was sent; with `resubmit_uncertain`
    that is given up.
    """

    def ended(job: Job) -> Job:
        if job.waiting:
            flow.reporter.note(f"what job {job.id} of this input has not sent yet is left to the new job")
            job = flow.withdraw(job, resubmit_uncertain=resubmit_uncertain)
        if not job.ended:
            flow.reporter.note(f"job {job.id} runs rows of this input; waiting for it, so that none is paid twice")
            job = flow.wait(job, timeout=timeout)
        return job

    return ended
