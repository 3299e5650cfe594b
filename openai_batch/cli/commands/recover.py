"""`obatch recover`: add batches that obatch created, and the registry does not know, to the registry."""

from __future__ import annotations

from openai_batch.cli.job_format import show_jobs
from openai_batch.cli.options import JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors
from openai_batch.cli.session import session

EPILOG = """Examples:

  $ obatch recover

  $ obatch recover -p openai

Use it after a crash, when the registry is lost, or on another machine with the same key. It is safe to run twice."""


def recover(provider: ProviderOpt = None, json: JsonOpt = False, quiet: QuietOpt = False) -> None:
    """Find batches of obatch that this machine does not know.

    Their jobs are added to the list of `obatch ls`.
    """
    from openai_batch.jobs.recover import recover as recover_jobs
    from openai_batch.providers.lookup import askable_providers, get_provider_by_name

    with session(quiet=quiet, busy=True) as current:
        asked = [get_provider_by_name(provider)] if provider else askable_providers()
        jobs = recover_jobs(current.workflow, asked)
        current.reporter.close()
        names = ", ".join(str(p.name) for p in asked)
        if not jobs and not quiet:
            errors.note(f"nothing new (asked: {names})")
        if jobs or json:
            show_jobs(Output(as_json=json, quiet=quiet), jobs)
