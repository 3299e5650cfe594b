"""`obatch recover`: add batches that obatch created, and the registry does not know, to the registry."""

from __future__ import annotations

from openai_batch.cli.help_format import examples
from openai_batch.cli.job_format import show_jobs
from openai_batch.cli.options import DryRunOpt, JsonOpt, ProviderOpt, QuietOpt
from openai_batch.cli.output import Output, errors, print_json
from openai_batch.cli.session import session
from openai_batch.errors import count_text

EPILOG = examples(
    "obatch recover",
    "obatch recover -p openai",
    note="Use it after a crash, when the registry is lost, or on another machine with the same key. It is safe to "
    "run twice.",
)


def recover(
    provider: ProviderOpt = None, dry_run: DryRunOpt = False, json: JsonOpt = False, quiet: QuietOpt = False
) -> None:
    """Find batches that obatch created and this machine does not know.

    Their jobs are added to the list of `obatch ls`.
    """
    from openai_batch.jobs.recover import recover as recover_jobs
    from openai_batch.jobs.recover import unknown_batches
    from openai_batch.providers.lookup import askable_providers, get_provider_by_name

    with session(quiet=quiet, busy=True) as current:
        asked = [get_provider_by_name(provider)] if provider else askable_providers()
        if dry_run:
            found = unknown_batches(current.workflow, asked)
            current.reporter.close()
            _show_dry(found, as_json=json, quiet=quiet)
            return
        jobs = recover_jobs(current.workflow, asked)
        current.reporter.close()
        names = ", ".join(str(p.name) for p in asked)
        if not jobs and not quiet:
            errors.note(f"nothing new (asked: {names})")
        if jobs or json:
            show_jobs(Output(as_json=json, quiet=quiet), jobs)


def _show_dry(found: dict[str, str], *, as_json: bool, quiet: bool) -> None:
    """Show the batches that would be added, by provider."""
    output = Output(as_json=as_json, quiet=quiet)
    if as_json:
        print_json([{"batch": batch, "provider": name} for batch, name in found.items()])
        return
    output.rows([batch] if quiet else [batch, name] for batch, name in found.items())
    if not quiet:
        errors.note(f"would add {count_text(len(found), 'batch')}; nothing was changed")
