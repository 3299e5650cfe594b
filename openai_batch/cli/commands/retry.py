"""`obatch retry`: send failed requests again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import job_record
from openai_batch.cli.options import (
    DryRunOpt,
    JobArg,
    JsonOpt,
    MaxCostOpt,
    ProviderOpt,
    QuietOpt,
    dollars,
    flag,
    option,
)
from openai_batch.cli.output import Output, errors, print_json
from openai_batch.cli.session import session
from openai_batch.cli.table import Column
from openai_batch.errors import IncompleteError, count_text

if TYPE_CHECKING:
    from openai_batch.jobs.retry import Group
    from openai_batch.jobs.store.records import JobRecord

EPILOG = examples(
    "obatch retry --dry-run",
    "obatch retry 3 --where 429,batch_expired",
    note="They become new parts of the same job: wait for it and download it as before.",
)


_YES_NO = ("no", "yes").__getitem__

# The columns of the causes.
COLUMNS = (
    Column.of("requests", "count", str),
    Column.of("will retry", "sent", _YES_NO),
    Column.of("can succeed", "helps", _YES_NO),
    Column.of("outcome", "outcome", str),
    Column.of("cause", "cause", str, wrap=True),
    Column.of("for example", "sample", str, wrap=True),
)


def retry(
    job: JobArg = None,
    where: Annotated[
        str | None,
        option(
            "--where", "CODES", "Only these outcomes (cut, refused, missing) or error codes (429), separated by commas."
        ),
    ] = None,
    everything: Annotated[
        bool, flag("--all", "Also send requests rejected as invalid, or cancelled before sending.")
    ] = False,
    dry_run: DryRunOpt = False,
    max_cost: MaxCostOpt = None,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Send failed requests again, in the same job.

    Requests that succeeded are not sent again, and not paid twice.
    """
    from openai_batch.jobs.retry import check_cost, survey, wanted_causes
    from openai_batch.jobs.retry import retry as send_again

    most = dollars(max_cost)
    wanted = wanted_causes(where, everything=everything)
    with session(quiet=quiet, busy=True) as current:
        found = current.ended(job, provider)
        seen = survey(current.workflow, found)
        groups = seen.groups()
        records = [_record(group, sent=wanted(group.verdict)) for group in groups]
        chosen = sum(g.count for g in groups if wanted(g.verdict))
        if chosen and dry_run:
            check_cost(current.workflow, found, seen, wanted, most, provider=provider)  # as without --dry-run
        elif chosen:
            found = send_again(current.workflow, found, seen, wanted, most, provider=provider)
        current.reporter.close()
        _show(found, records, chosen, dry_run=dry_run, as_json=json, quiet=quiet)
        failed = [group for group in groups if not group.verdict.outcome.answered]
        if where is not None and groups and not chosen:
            raise _nothing_chosen(found, groups, where)
        if failed and not chosen:
            raise _nothing_sent(found, failed)


def _record(group: Group, *, sent: bool) -> dict[str, Any]:
    verdict = group.verdict
    return {
        "outcome": str(verdict.outcome),
        "cause": verdict.cause,
        "count": group.count,
        "sample": group.sample,
        "helps": verdict.retryable,
        "sent": sent,
    }


def _nothing_sent(job: JobRecord, groups: list[Group]) -> IncompleteError:
    """Return the error for failed requests none of which is sent again."""
    from openai_batch.jobs.missing_reasons import WITHDRAWN

    if all(group.verdict == WITHDRAWN for group in groups):
        why = "a later job has them, or they were cancelled"
    else:
        why = "fix these requests"
    failed = count_text(sum(group.count for group in groups), "failed request", "is")
    return IncompleteError(f"job {job.id}: {failed} not sent again", hint=f"{why}; --all sends them as they are")


def _nothing_chosen(job: JobRecord, groups: list[Group], where: str) -> IncompleteError:
    """Return the error for requests that did not succeed, none of which --where names."""
    words = dict.fromkeys(word for g in groups for word in (str(g.verdict.outcome), g.verdict.cause.partition(":")[0]))
    return IncompleteError(
        f"job {job.id}: --where {where} matches no failed request", hint=f"--where can be {', '.join(words)}"
    )


def _show(
    job: JobRecord, records: list[dict[str, Any]], chosen: int, *, dry_run: bool, as_json: bool, quiet: bool
) -> None:
    """Print the causes of failed requests (`records`), and how many requests are sent again (`chosen`)."""
    output = Output(quiet=quiet)
    if as_json:
        retried = 0 if dry_run else chosen
        print_json(job_record(job) | {"dry_run": dry_run, "chosen": chosen, "retried": retried, "groups": records})
        return
    if quiet:
        output.lines([str(job.id)])
        return
    if records:
        output.listing(records, COLUMNS, "cause", "")
    else:
        errors.note(f"job {job.id}: every request succeeded")
    if chosen:
        errors.note(f"{count_text(chosen, 'request', 'would be' if dry_run else 'was')} sent again")
    if chosen and not dry_run:
        errors.hint(f"obatch wait {job.id}")
