"""`obatch stats`: summarise a batch input file or a file of results."""

from __future__ import annotations

from typing import Annotated

from openai_batch.cli.help_format import examples
from openai_batch.cli.live import working
from openai_batch.cli.options import JsonOpt, argument
from openai_batch.cli.output import Output, note_terminal_input
from openai_batch.cli.report_format import cause_lines, histograms
from openai_batch.cli.session import hide_known_keys

EPILOG = examples(
    "obatch stats input.jsonl",
    "obatch stats results.jsonl",
    "obatch download 3 -o - | obatch stats - --json",
    note="Nothing is sent, and no job is looked at. `obatch check` names the lines with problems.",
)


def stats(
    file: Annotated[str, argument("FILE", "Batch input file, or results as JSON lines; - is stdin.")],
    json: JsonOpt = False,
) -> None:
    """Summarise a batch input file or a file of results.

    Of requests: models, parameters, sizes, repeated ids. Of results: outcomes, causes of failures, finish reasons,
    tokens.
    """
    from openai_batch.report.file_stats import file_stats

    hide_known_keys()
    note_terminal_input([file])
    with working("reading the file", [file]):
        found = file_stats(file)
    output = Output(as_json=json)
    lines = found.lines()
    if output.terminal:
        lines += histograms(found.statistics)
    if found.tally is not None:
        lines += cause_lines(found.tally)
    output.record(found.record(), "", lines)
