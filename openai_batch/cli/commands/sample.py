"""`obatch sample`: the first rows, answered at once, with their prompts, and the cost of the whole input."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.live import working
from openai_batch.cli.options import DedupOpt, FilesArg, JsonOpt, ProviderOpt, option
from openai_batch.cli.output import Output, errors
from openai_batch.cli.request_options import InputOptions, RequestOptions, note_prepared
from openai_batch.cli.sample_format import show_sample
from openai_batch.cli.session import session
from openai_batch.errors import IncompleteError, count_text

EPILOG = examples(
    'obatch sample reviews.csv --prompt "Label: {{ text }}" -m gpt-4o-mini',
    "obatch sample input.jsonl -n 2 --json",
    note="The rows are answered at once and paid at the full price, not at that of a batch. Nothing is recorded: a"
    " run of the same input sends, and pays, them again. To keep the answers of the first rows, use `obatch "
    "run --limit N`.",
)


def sample(
    files: FilesArg = None,
    number: Annotated[int, option("--number -n", "N", "How many rows to send.", MAIN, min=1)] = 5,
    provider: ProviderOpt = None,
    *,
    request: RequestOptions,
    inputs: InputOptions,
    dedup: DedupOpt = None,
    json: JsonOpt = False,
) -> None:
    """Send a few rows at once, and show their answers and what the whole would cost.

    The first rows go to the synchronous endpoint, at the full price. They are no batch and no job.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs import sample as use_case
    from openai_batch.jobs.job_spec import make_spec

    with session(quiet=True) as current, workspace() as folder:
        with working("reading the input", files or []):
            made = inputs.requests(files, folder, request, provider)
        if made.prepared is not None:
            note_prepared(made.prepared)
        spec = make_spec(made.source, folder, made.provider, on_warning=errors.note)
        count = min(number, spec.batch_file.report.requests)
        errors.note(f"{count_text(count, 'request')} to {spec.provider}, outside of a batch, at the full price")
        once = made.columns is not None if dedup is None else dedup
        with working(f"waiting for {spec.provider}"):
            tried = use_case.sample(current.workflow, spec, folder, count, dedup=once)
        show_sample(Output(as_json=json), tried)
    failed = sum(not row.result.outcome.answered for row in tried.rows)
    if failed:
        raise IncompleteError(
            f"{failed} of {count_text(len(tried.rows), 'request')} failed",
            hint="fix what the answers say before you run the whole input",
        )
