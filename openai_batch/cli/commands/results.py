"""`obatch results`: show a job's results, or write them as a table with the columns of the input."""

from __future__ import annotations

from openai_batch.cli.deliver import conclude, deliver
from openai_batch.cli.export_options import ExportOptions
from openai_batch.cli.help_format import examples
from openai_batch.cli.options import ForceOpt, JobArg, JsonOpt, OutputOpt, ProviderOpt, QuietOpt, StrictOpt
from openai_batch.cli.session import session
from openai_batch.files.atomic import as_target

EPILOG = examples(
    "obatch results 3",
    "obatch results 3 -o answers.csv",
    "obatch results 3 -o labels.parquet --fields",
    "obatch results 3 | jq -r .answer",
    note="Columns: the custom id, the columns of the input table, with --fields the fields of the answer, then "
    "answer, finish_reason, model, prompt_tokens, completion_tokens, outcome (success, refused, cut, error or"
    " missing), error_code and error_message.",
)


def results(
    job: JobArg = None,
    output: OutputOpt = None,
    *,
    form: ExportOptions,
    provider: ProviderOpt = None,
    force: ForceOpt = False,
    strict: StrictOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Show a job's results, or write them as a table.

    There is one row per request, in input order, with its input columns.

    A terminal shows the first results, without --as and --fields. A pipe gets JSON lines, and --json gives one JSON
    array. With -o, the name of the file decides: CSV, Parquet or the provider's lines.
    """
    path = as_target(output) if output is not None and output != "-" else None
    with session(quiet=quiet, busy=True) as current:
        found = current.ended(job, provider)
        export = form.export(output, default="raw" if path else "rows", job=found, as_json=json)
        from openai_batch.jobs.collect import CollectOptions

        how = CollectOptions(force=force, export=export)
        collected = deliver(current, found, path, how, as_json=json, as_asked=form.asked)
        if collected.path is not None:
            stored = form.written(found, collected.path, form.form, export)
            current.workflow.registry.set_job(found.id, output_form=stored)
        conclude(collected, export, strict=strict, as_json=json and path is not None, quiet=quiet)
