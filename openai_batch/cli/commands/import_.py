"""`obatch import`: make a job of results that were made elsewhere."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.deliver import conclude
from openai_batch.cli.help_format import MAIN, examples
from openai_batch.cli.options import JsonOpt, NameOpt, QuietOpt, StrictOpt, argument, option
from openai_batch.cli.output import Output
from openai_batch.cli.session import session
from openai_batch.errors import UsageError

EPILOG = examples(
    "obatch import output.jsonl --input input.jsonl",
    "obatch import answers/ --input input.jsonl --answer generated_text",
    "obatch download -o results.csv",
    note="It reads lines like OpenAI's, and tables with the columns custom_id and response, body or answer. "
    "Nothing is sent. `obatch retry JOB -p NAME` sends what has no answer to a provider.",
)


def import_(
    results: Annotated[list[str], argument("FILE", "Files or folders of results; - is stdin.")],
    input: Annotated[  # noqa: A002 - the name of the option
        list[str], option("--input -i", "FILE", "Batch file that they answer; repeatable.", MAIN)
    ],
    answer: Annotated[str, option("--answer", "COLUMN", "Column with the answers.", MAIN)] = "answer",
    name: NameOpt = None,
    strict: StrictOpt = False,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Make a job of results that were made elsewhere.

    Each is checked against its input. Of several for a request the best one counts. More results of the same input are
    added to the same job.
    """
    from openai_batch.files.workspace import workspace
    from openai_batch.jobs.collect import Collected
    from openai_batch.jobs.import_results import import_results
    from openai_batch.jobs.input_name import name_of_input
    from openai_batch.jobs.retry import survey
    from openai_batch.requests.join import globbed, open_joined

    if "-" in results and "-" in input:
        raise UsageError("standard input can be read only once", hint="use - only once")
    with session(quiet=quiet, busy=True) as current, workspace() as folder:
        source = open_joined(globbed(input), folder)
        job = import_results(
            current.workflow, results, source, folder, input_name=name_of_input(input), name=name, answer=answer
        )
        current.follow(job)
        collected = Collected(job, None, survey(current.workflow, job).tally)
        current.reporter.close()
        if quiet and not json:
            Output().lines([str(job.id)])
        conclude(collected, strict=strict, as_json=json, quiet=quiet)
