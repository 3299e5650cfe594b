"""`obatch retry`: send again what has no success."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from openai_batch.cli.job_format import job_record
from openai_batch.cli.options import DryRunOpt, JobArg, JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session
from openai_batch.errors import IncompleteError

EPILOG = """Examples:

  $ obatch retry --dry-run

  $ obatch retry 3 --where 429,batch_expired

The new requests are parts of the same job: wait for it and download it as before."""

COLUMNS = tuple(
    (heading, lambda r, key=key: str(r[key]), lambda r, key=key: str(r[key]))
    for heading, key in (
        ("requests", "count"),
        ("sent again", "sent"),
        ("helps", "helps"),
        ("cause", "cause"),
        ("for example", "sample"),
    )
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(retry)


def retry(
    job: JobArg = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="CODES", help="Only these error codes or statuses, or `missing`; comma-separated."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is refused for what it asks, and what was withdrawn unsent.")
    ] = False,
    dry_run: DryRunOpt = False,
    provider: ProviderOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Send what has no success again, as new parts of the same job; what has one is not paid for twice."""
    from openai_batch.jobs.retry import WITHDRAWN, survey, wanted_causes
    from openai_batch.jobs.retry import retry as send_again

    wanted = wanted_causes(where, everything=everything)
    with session(quiet=quiet) as current:
        found = current.ended(job, provider)
        seen = survey(current.workflow, found)
        groups = seen.groups()
        records = [
            {"cause": g.cause, "count": g.count, "sample": g.sample, "helps": g.helps, "sent": wanted(g.cause)}
            for g in groups
        ]
        chosen = sum(g.count for g in groups if wanted(g.cause))
        if chosen and not dry_run:
            found = send_again(current.workflow, found, seen, wanted)
        current.reporter.close()
        _tell(found, records, chosen, dry_run=dry_run, as_json=json, quiet=quiet)
        if not chosen and groups:
            unsent = all(group.cause == WITHDRAWN for group in groups)
            why = "a later job has them, or they were cancelled" if unsent else "mend these requests"
            raise IncompleteError(
                f"job {found.id}: none of its {len(seen.rows):,} requests without a success would be sent again",
                hint=f"{why}; --all sends them as they are",
            )


def _tell(found: Any, records: list[dict[str, Any]], chosen: int, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        output.record(job_record(found) | {"retried": 0 if dry_run else chosen, "groups": records}, "", [])
        return
    if quiet:
        output.lines([str(found.id)])
        return
    if records:
        output.listing(records, COLUMNS, lambda r: str(r["cause"]), "")
    else:
        errors.note(f"job {found.id}: every request has a success")
    if chosen:
        verb = "would be sent" if dry_run else "is sent" if chosen == 1 else "are sent"
        errors.note(f"{chosen:,} {'request' if chosen == 1 else 'requests'} {verb} again")
    if chosen and not dry_run:
        errors.hint(f"obatch wait {found.id}")
