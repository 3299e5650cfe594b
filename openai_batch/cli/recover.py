"""`obatch recover`: find our batches again."""

from __future__ import annotations

import typer

from openai_batch.errors import AuthError

from .options import JsonOpt, ProviderOpt, QuietOpt
from .output import Output, errors
from .records import JOB_COLUMNS, job_record
from .session import named_provider, session

EPILOG = """Examples:

  $ obatch recover

  $ obatch recover -p openai

Use it after a crash, a lost registry, or on another machine with the same key. Doing it twice changes nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(recover)


def recover(provider: ProviderOpt = None, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Take in every batch that obatch created and that the registry does not know."""
    from openai_batch._recover import recover as find_again
    from openai_batch.providers import askable_providers

    with session(quiet=quiet) as current:
        named = named_provider(provider)
        asked = [named] if named else askable_providers()
        if not asked:
            raise AuthError("no provider can be asked: no key is set", hint="export the key, or name one with -p")
        jobs = find_again(current.flow, asked)
        current.reporter.close()
        names = ", ".join(str(p.name) for p in asked)
        if not jobs and not quiet:
            errors.note(f"nothing new (asked: {names})")
        if jobs or json:
            records = [job_record(job) for job in jobs]
            Output(as_json=json, quiet=quiet).listing(records, JOB_COLUMNS, lambda r: str(r["id"]), "")
