"""Send again what has no success, as new parts of the same job, and nothing else.

What needs doing is the input's requests minus those with a success: never the error file alone, never the counts.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _jobfiles, _paths
from ._collect import result_lines
from ._jobs import Part
from ._results import Tally
from ._spared import read_records
from ._split import RequestFiles
from .errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._jobs import Job
    from ._workflow import Workflow

# What a provider says of a request that will fail again: it is the request that must change.
_HOPELESS = re.compile(
    r"context_length|context length|maximum context|content_filter|content_policy|refus|invalid_request|invalid_type"
    r"|invalid_value|unsupported|unknown_parameter|model_not_found|does not exist"
)
_LATER = frozenset({"408", "409", "425", "429"})


@dataclass(slots=True)
class Group:
    """Requests without a success that share a cause: how many, one of their ids, and whether sending again can help."""

    cause: str
    count: int
    sample: str
    helps: bool


@dataclass(slots=True)
class Survey:
    """What became of each request of an ended job: the causes, and the rows without a success by cause."""

    tally: Tally = field(default_factory=Tally)
    rows: dict[int, str] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)

    def groups(self) -> list[Group]:
        """Return the causes, the most frequent first."""
        counts = Counter(self.rows.values())
        return [Group(cause, n, self.samples[cause], can_help(cause)) for cause, n in counts.most_common()]


def can_help(cause: str) -> bool:
    """Tell whether sending a request again can help: not where the request itself was refused."""
    code = cause.partition(":")[0]
    if code.isdigit():
        return code in _LATER or not code.startswith("4")
    return _HOPELESS.search(cause.lower()) is None


def survey(flow: Workflow, job: Job) -> Survey:
    """Look through an ended job's results. Raises BatchError if it still runs."""
    if not job.ended:
        raise BatchError(f"job {job.id} is still {job.status}", hint=f"obatch wait {job.id}")
    found = Survey()

    def note(row: int, custom_id: str, cause: str | None) -> None:
        if cause is not None:
            found.rows[row] = cause
            found.samples.setdefault(cause, custom_id)

    scratch = _paths.private_dir(_paths.state_dir() / "spool") / "survey"
    for _ in result_lines(flow, job, scratch, found.tally, note):
        pass
    return found


def retry(flow: Workflow, job: Job, found: Survey, wanted: Callable[[str], bool] = can_help) -> Job:
    """Plan new parts for the requests whose cause is `wanted`, send them, and return the job.

    Raises InputError if the job's input is gone, and what the provider refuses with.
    """
    source = _jobfiles.check_input(job)
    limits = flow.api(job).provider.limits
    first = max(part.number for part in job.parts) + 1
    if not any(wanted(cause) for cause in found.rows.values()):
        return job

    def plan() -> list[Part]:
        files = RequestFiles(_paths.private_dir(_paths.job_dir(job.uid)), f"retry-{first}", limits)
        try:
            spared = _jobfiles.spared_of(job)
            # A row whose result is another one's gets that of the other again.
            records = itertools.repeat((0, 0)) if spared is None else read_records(spared)
            with source.open("rb") as handle:
                for row, (line, (_, place)) in enumerate(zip(handle, records, strict=False)):
                    cause = found.rows.get(row)
                    if cause is not None and wanted(cause) and not place:
                        files.add(row, line)
        finally:
            files.close()
        return [Part.of(piece, job.id, number) for number, piece in enumerate(files.slices(), first)]

    return flow.extend(job, plan)
