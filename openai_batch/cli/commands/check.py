"""`obatch check`: batch files against a provider's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from openai_batch.cli.options import JsonOpt, ProviderOpt
from openai_batch.cli.output import Output, counted, errors
from openai_batch.errors import InputError

if TYPE_CHECKING:
    from openai_batch.jobs.check import CheckResult

EPILOG = """Examples:

  $ obatch check input.jsonl

  $ obatch check input.jsonl -p parasail --json

  $ obatch check 'shards/*.jsonl'"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(check)


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Batch input files, each by itself; - is stdin.")],
    provider: ProviderOpt = None,
    json: JsonOpt = False,
) -> None:
    """Check batch files: every problem, as file:line, and nothing is sent."""
    from openai_batch.jobs.check import check_input
    from openai_batch.requests.join import globbed

    names = globbed(files)
    output = Output(as_json=json)
    results: list[CheckResult] = []
    for name in names:
        result = check_input(name, provider)
        if not json:
            _show(output, result, alone=len(names) == 1)
        results.append(result)
    if json:
        records = [_record(result) for result in results]
        all_ok = all(result.report.ok for result in results)
        output.record(records[0] if len(names) == 1 else {"ok": all_ok, "files": records}, "", [])
    bad = [result for result in results if not result.report.ok]
    if len(names) > 1:
        total = counted(sum(result.report.requests for result in results), "request")
        if bad:
            verb = "has" if len(bad) == 1 else "have"
            raise InputError(f"{len(bad):,} of {len(names):,} files {verb} problems", hint="mend the files")
        if not json:
            errors.note(f"{len(names):,} files: {total}, all of them fit")
    elif bad:
        prompts = f"prompts are for `obatch run` or `obatch prepare {bad[0].name}`"
        raise InputError(_summary(bad[0]), hint="mend the file" if bad[0].is_requests else prompts)


def _show(output: Output, result: CheckResult, *, alone: bool) -> None:
    """Print the problems of a file; the summary of a single bad one is the error of the command."""
    report = result.report
    output.lines(problem.located(result.name) for problem in report.problems)
    hidden = report.problem_count - len(report.errors)
    if hidden > 0:
        errors.note(f"… and {hidden:,} more")
    if report.ok or not alone:
        errors.note(_summary(result))


def _summary(result: CheckResult) -> str:
    report = result.report
    if not report.ok:
        return f"{result.name} has {counted(report.problem_count, 'problem')} for {result.provider}"
    warnings = f", {counted(report.warning_count, 'warning')}" if report.warning_count else ""
    requests = counted(report.requests, "request")
    return f"{result.name}: {requests} for {report.endpoint}, fit for {result.provider}{warnings}"


def _record(result: CheckResult) -> dict[str, Any]:
    report = result.report
    return {
        "file": result.name,
        "provider": str(result.provider.name),
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
