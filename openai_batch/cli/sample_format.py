"""How a sample is printed. The keys of the record are a contract: new ones may be added, none changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.costs.usd import usd
from openai_batch.errors import count_text

from .cost_format import estimate_record, estimate_text
from .output import errors, print_json

if TYPE_CHECKING:
    from openai_batch.jobs.sample import Sample, SampleRow

    from .output import Output


def sample_record(sample: Sample) -> dict[str, Any]:
    """Return the JSON record of a sample, with the costs in USD; null for what is not known."""
    return {
        "rows": [_row_record(row) for row in sample.rows],
        "usd_paid": None if sample.paid is None else float(sample.paid),
        "whole": estimate_record(sample.whole),
    }


def _row_record(row: SampleRow) -> dict[str, Any]:
    result = row.result
    return {
        "custom_id": result.custom_id,
        "prompt": row.prompt,
        "outcome": str(result.outcome),
        "answer": result.answer,
        "error": None if result.error is None else str(result.error),
        "usage": result.usage,
    }


def show_sample(output: Output, sample: Sample) -> None:
    """Print prompts and answers side by side, what they have cost, and what the whole input would cost."""
    if output.as_json:
        print_json(sample_record(sample))
        return
    rows = [(row.result.custom_id, row.prompt, row.result.ok, row.result.summary) for row in sample.rows]
    if output.terminal:
        output.answers(rows)
    else:
        output.rows((custom_id, prompt, answer) for custom_id, prompt, _, answer in rows)
    errors.note(f"paid: {usd(sample.paid)}; nothing is recorded, so a run sends and pays these requests again")
    whole = sum(each.tokens.requests for each in sample.whole.models)
    errors.note(f"the whole input as a batch, {count_text(whole, 'request')}: {estimate_text(sample.whole)}")
    if any(each.results for each in sample.costs):
        errors.note("tokens out: a guess, by the answers of this sample")
