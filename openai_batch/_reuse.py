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
from ._keys import paired, repeats
from ._order import Earlier, Order
from ._output import check_output
from ._profile import normal_url
from ._registry import OvertakenError
from ._spared import OWN, Spared, Sparing, read_records
from ._split import sort_out
from .errors import NotFoundError, UnknownProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
    sparing = Sparing(checked.keys, folder / "origin", folder / "spared", folder / "stores")
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
    seen = bytearray(rows // 8 + 1)
    compared = 0
    numbers = flow.registry.earlier(order.origin, output, order.checked.report.endpoint)
    at_output = {} if output is None else flow.registry.at_output(output)
    for number in numbers:
        if compared == MAX_EARLIER:
            break
        if found.common + found.sparing.repeated >= rows and number not in at_output:
            continue
        job = flow.registry.job(number)
        theirs = _jobfiles.keys_of(job)
        if theirs is None or not _same_place(order, job):
            continue
        compared += 1
        pairs = found.folder / f"pairs-{number}"
        shared = _write_pairs(found, theirs, pairs, spared, seen)
        if shared:
            used.add(number)
            found.shared.append((job, pairs))
        if shared == job.requests <= rows:
            grown.add(number)
    found.earlier = Earlier(frozenset(used), frozenset(grown), max(numbers, default=0))


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
    sparing = found.sparing
    stores: dict[str, int] = {}
    if ended is not None:
        with Spared(sparing.path, found.order.checked.report.requests) as spared:
            flow.connect(found.order.provider)
            for job, pairs in found.shared:
                if any(spared[row] == (OWN, 0) for row, _ in _read_pairs(pairs)):
                    _take(flow, ended(job), pairs, spared, stores, once=found.dedup)
            sparing = _counted(sparing, spared)
    sparing.stores.write_text("".join(f"{name}\n" for name in stores), encoding="utf-8")
    return _planned(found, sparing)


def expected(found: Look) -> Order:
    """Return the order as it would be if earlier jobs have an answer to each row that they had; nobody is asked."""
    with Spared(found.sparing.path, found.order.checked.report.requests) as spared:
        for _, pairs in found.shared:
            for row, _ in _read_pairs(pairs):
                if spared[row] == (OWN, 0):
                    spared[row] = (OWN + 1, 1)
        sparing = _counted(found.sparing, spared)
    return _planned(found, sparing)


def _planned(found: Look, sparing: Sparing) -> Order:
    """Return the order with the spared rows left out of its slices."""
    order, checked, limits = found.order, found.order.checked, found.order.provider.limits
    if sparing.count:
        wanted = (place == 0 for _, place in read_records(sparing.path))
        with checked.path.open("rb") as source:
            slices = sort_out(source, found.folder, limits, wanted, by_model=limits.one_model)
        checked = replace(checked, slices=tuple(slices), folder=found.folder)
    return replace(order, checked=checked, sparing=sparing, earlier=found.earlier)


def _read_pairs(pairs: Path) -> Iterator[tuple[int, int]]:
    """Yield what `_write_pairs` wrote."""
    with pairs.open(encoding="ascii") as source:
        for line in source:
            row, other = line.split()
            yield int(row), int(other)


def _take(flow: Workflow, job: Job, pairs: Path, spared: Spared, stores: dict[str, int], *, once: bool) -> None:
    """Take the answers that an earlier job has to rows that are not answered yet."""
    with ExitStack() as stack:
        answer_of = _answers(flow, job, stores, stack, once=once)
        for row, other in _read_pairs(pairs):
            if spared[row] == (OWN, 0) and (answer := answer_of(other)) is not None:
                spared[row] = answer


def _answers(
    flow: Workflow, job: Job, stores: dict[str, int], stack: ExitStack, *, once: bool
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

    name = _jobfiles.name_of(own.lines)

    def answer_of(row: int) -> tuple[int, int] | None:
        store, place = (OWN, 0) if theirs is None else theirs[row]
        if store != OWN:
            return stores.setdefault(names[store - 1], len(stores) + 1), place
        if place and not once:
            return None
        place = own.place_of(place - 1 if place else row, places)
        return (stores.setdefault(name, len(stores) + 1), place) if place else None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an order is to be submitted: what was asked for, and the path that its results shall have.

    `dedup` sends identical requests once, `reuse` only what no earlier job has answered; `timeout` is in seconds.
    """

    dedup: bool = False
    reuse: bool = False
    again: bool = False
    target: Path | None = None
    force: bool = False
    timeout: float | None = None
    resubmit_uncertain: bool = False
    check_remote: bool = False

    def look(self, flow: Workflow, order: Order, folder: Path) -> Look:
        """Look at an order on these terms."""
        output = None if self.target is None else str(self.target.absolute())
        return look(flow, order, folder, dedup=self.dedup, earlier=self.reuse and not self.again, output=output)


def submit_rest(
    flow: Workflow, order: Order, folder: Path, terms: Terms, waiting: Callable[[Job | None], None] | None = None
) -> tuple[Job, bool, Order]:
    """Submit what of an order need be sent, and return its job, whether that is new, and the order as planned.

    An earlier job that has rows of it is waited for: `waiting` hears of it, and of None when that is over. Raises
    OutputExistsError, or RegistryError where the job's name is taken, before anything is paid or waited for.
    """
    while True:
        found = terms.look(flow, order, folder)
        known = None if terms.again else flow.registry.by_identity(order.identity)
        if terms.target is not None:
            check_output(flow, terms.target, known, found.earlier, force=terms.force)
        if known is None:
            flow.registry.check_name(order.name, found.earlier)
        if known is not None and _jobfiles.has_ids(known):
            planned = replace(order, earlier=found.earlier)  # the plan of its job stands
        else:
            planned = settled(flow, found, _waiter(flow, terms, waiting or (lambda _: None)))
        try:
            job, new = flow.submit(
                planned,
                again=terms.again,
                resubmit_uncertain=terms.resubmit_uncertain,
                check_remote=terms.check_remote,
            )
        except OvertakenError:
            continue
        return job, new, planned


def _waiter(flow: Workflow, terms: Terms, waiting: Callable[[Job | None], None]) -> Callable[[Job], Job]:
    """Return what waits for an earlier job of the same input to end; what of that is not sent yet never will be.

    It raises what waiting raises, and UncertainError where it is unknown what was sent, unless that is given up.
    """

    def ended(job: Job) -> Job:
        waiting(job)
        if job.waiting:
            flow.reporter.note(f"what job {job.id} of this input has not sent yet is left to the new job")
            job = flow.withdraw(job, resubmit_uncertain=terms.resubmit_uncertain)
        if not job.ended:
            flow.reporter.note(f"job {job.id} runs rows of this input; waiting for it, so that none is paid twice")
            job = flow.wait(job, timeout=terms.timeout)
        waiting(None)
        return job

    return ended
