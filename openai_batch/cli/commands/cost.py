"""`obatch cost`: what requests can cost, before they are sent; without an input, what was spent in each month."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.cost_format import show_estimate, show_spending
from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.live import working
from openai_batch.cli.options import DedupOpt, JsonOpt, ProviderOpt, argument
from openai_batch.cli.output import Output, errors
from openai_batch.cli.request_options import InputOptions, RequestOptions
from openai_batch.cli.session import session
from openai_batch.errors import UsageError

EPILOG = examples(
    "obatch cost input.jsonl",
    'obatch cost reviews.csv --prompt "Label: {{ text }}" \\\n      --param max_completion_tokens=50',
    "obatch cost",
    note="`obatch run --max-cost USD` sends nothing that can cost more. Prices that are not known can be written "
    "to the configuration file (`obatch help costs`).",
)


def cost(
    files: Annotated[
        list[str] | None,
        argument(
            "FILE", "Prompts, tables or batch input files; - is stdin. Without any: what was spent in each month.", MAIN
        ),
    ] = None,
    provider: ProviderOpt = None,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    dedup: DedupOpt = None,
    json: JsonOpt = False,
) -> None:
    """Show what requests can cost, or what was spent.

    Nothing is sent. All rows count, also those that an earlier job has answered: `obatch run --dry-run` leaves them
    out.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.dry_run import cost_of_input
    from openai_batch.jobs.job_spec import make_spec
    from openai_batch.jobs.receipt import spending

    output = Output(as_json=json)
    asked = (provider, request, inputs, dedup) != (None, RequestOptions(), InputOptions(), None)
    if asked and not files and inputs.sql is None:
        raise UsageError("which FILE? Without one, only --json can be used", hint="name a file; - is standard input")
    with session(quiet=True) as current, workspace() as folder:
        if not files and inputs.sql is None:
            show_spending(output, spending(current.workflow.registry.jobs(None)))
            return
        with working("counting tokens", files or []):
            made = inputs.requests(files, folder, request, provider)
            spec = make_spec(made.source, folder, made.provider, on_warning=errors.note)
            once = made.columns is not None if dedup is None else dedup
            estimate = cost_of_input(current.workflow, spec, folder, dedup=once)
        show_estimate(output, estimate)
