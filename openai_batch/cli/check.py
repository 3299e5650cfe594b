"""`obatch check`: a batch file against a provider's limits."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from openai_batch.errors import InputError

from .options import JsonOpt, ProviderOpt
from .output import Output, counted, errors

EPILOG = """Examples:

  $ obatch check input.jsonl

  $ obatch check input.jsonl -p parasail --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(check)


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Batch input file; - is stdin.")],
    provider: ProviderOpt = None,
    json: JsonOpt = False,
) -> None:
    """Check a batch file: every problem, as file:line, and nothing is sent."""
    from openai_batch._check import check_stream
    from openai_batch._inputs import first_model, looks_like_requests, open_source
    from openai_batch.providers import pick_provider

    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(file, Path(folder))
        chosen = pick_provider(provider, first_model(source) or "gpt")
        requests = looks_like_requests(source)
        with source.path.open("rb") as handle:
            report = check_stream(handle, chosen.limits)
    output = Output(as_json=json)
    if json:
        output.record(_record(source.name, str(chosen.name), report), "", [])
    else:
        output.lines(problem.located(source.name) for problem in report.problems)
        hidden = report.problem_count - len(report.errors)
        if hidden > 0:
            errors.note(f"… and {hidden:,} more")
    if not report.ok:
        raise InputError(
            f"{source.name} has {counted(report.problem_count, 'problem')} for {chosen}",
            hint="mend the file" if requests else f"prompts are for `obatch run` or `obatch prepare {source.name}`",
        )
    if not json:
        errors.note(
            f"{source.name}: {counted(report.requests, 'request')} for {report.endpoint}, fit for {chosen}"
            + (f", {counted(report.warning_count, 'warning')}" if report.warning_count else "")
        )


def _record(name: str, provider: str, report: Any) -> dict[str, Any]:
    return {
        "file": name,
        "provider": provider,
        "ok": report.ok,
        "requests": report.requests,
        "bytes": report.n_bytes,
        "endpoint": report.endpoint,
        "models": list(report.models),
        "problem_count": report.problem_count,
        "problems": [
            {
                "line": p.line,
                "code": p.code,
                "message": p.message,
                "param": p.param,
                "remedy": p.remedy,
                "warning": p.warning,
            }
            for p in report.problems
        ],
    }
