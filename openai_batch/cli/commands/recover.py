"""`obatch recover`: find our batches again."""

from __future__ import annotations

import typer

from openai_batch.cli.job_format import JOB_COLUMNS, job_record
from openai_batch.cli.options import JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session

EPILOG = """Examples:

  $ obatch recover

  $ obatch recover -p openai

Use it after a crash, a lost registry, or on another machine with the same key. Doing it twice changes nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(recover)


def recover(provider: ProviderOpt = None, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Take in every batch that obatch created and that the registry does not know."""
    from openai_batch.jobs.recover import recover as find_again
    from openai_batch.providers.lookup import askable_providers, get_provider_by_name

    with session(quiet=quiet) as current:
        asked = [get_provider_by_name(provider)] if provider else askable_providers()
        jobs = find_again(current.workflow, asked)
        current.reporter.close()
        names = ", ".join(str(p.name) for p in asked)
        if not jobs and not quiet:
            errors.note(f"nothing new (asked: {names})")
        if jobs or json:
            records = [job_record(job) for job in jobs]
            Output(as_json=json, quiet=quiet).listing(records, JOB_COLUMNS, lambda r: str(r["id"]), "")
