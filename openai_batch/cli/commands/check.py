"""`obatch check`: check batch files against a provider's limits; nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from openai_batch.cli.help_format import examples
from openai_batch.cli.live import working
from openai_batch.cli.options import JsonOpt, ProviderOpt, argument
from openai_batch.cli.output import Output, errors, print_json
from openai_batch.errors import InputError, count_text
from openai_batch.requests.source import as_word

if TYPE_CHECKING:
    from openai_batch.jobs.check import CheckResult

EPILOG = examples(
    "obatch check input.jsonl",
    "obatch check input.jsonl -p parasail --json",
    "obatch check 'shards/*.jsonl'",
)


_PROBLEM = ("line", "code", "message", "param", "remedy", "warning")  # the keys of a problem with --json


def check(
    files: Annotated[list[str], argument("FILE", "Batch input files, each checked by itself; - is stdin.")],
    provider: ProviderOpt = None,
    json: JsonOpt = False,
) -> None:
    """Check batch files, and print every problem.

    A problem is one line that begins with file:line. Nothing is sent.
    """
    from openai_batch.jobs.check import check_input
    from openai_batch.requests.join import globbed

    names = globbed(files)
    output = Output(as_json=json)
    results: list[CheckResult] = []
    for name in names:
        with working(f"checking {name}", [name]):
            result = check_input(name, provider)
        if not json:
            _show(output, result, alone=len(names) == 1, named=provider is not None)
        results.append(result)
    if json:
        records = [_record(result) for result in results]
        all_ok = all(result.report.ok for result in results)
        print_json(records[0] if len(names) == 1 else {"ok": all_ok, "files": records})
    _raise_if_bad(results, named=provider is not None)
    if len(names) > 1 and not json:
        total = count_text(sum(result.report.requests for result in results), "request")
        errors.note(f"{len(names):,} files: {total}, no problems")


def _raise_if_bad(results: list[CheckResult], *, named: bool) -> None:
    """Raise InputError if a file has problems; it has the provider's name if the user has `named` one."""
    bad = [result for result in results if not result.report.ok]
    if not bad:
        return
    if len(results) > 1:
        verb = "has" if len(bad) == 1 else "have"
        raise InputError(f"{len(bad):,} of {len(results):,} files {verb} problems", hint="fix the files")
    prompts = f"for prompts and tables: `obatch run` or `obatch prepare {as_word(bad[0].name)}`"
    raise InputError(_summary(bad[0], named=named), hint="fix the file" if bad[0].is_requests else prompts)


def _show(output: Output, result: CheckResult, *, alone: bool, named: bool) -> None:
    """Print the problems of a file. If the only file is bad, its summary is the error of the command instead."""
    report = result.report
    output.lines(problem.located(result.name) for problem in report.problems)
    hidden = report.problem_count - len(report.errors)
    if hidden > 0:
        errors.note(f"… and {hidden:,} more")
    if report.ok or not alone:
        errors.note(_summary(result, named=named))


def _summary(result: CheckResult, *, named: bool) -> str:
    report = result.report
    if not report.ok:
        provider = f" for {result.provider}" if named else ""
        return f"{result.name} has {count_text(report.problem_count, 'problem')}{provider}"
    warnings = f", {count_text(report.warning_count, 'warning')}" if report.warning_count else ""
    requests = count_text(report.requests, "request")
    fits = "too much for one file of" if result.splits else "within the limits of"
    return f"{result.name}: {requests} for {report.endpoint}, {fits} {result.provider}{warnings}"


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
        "problems": [{name: getattr(each, name) for name in _PROBLEM} for each in report.problems],
    }
