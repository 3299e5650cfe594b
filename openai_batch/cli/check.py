"""`obatch check`: batch files against a provider's limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openai_batch.errors import InputError

from .options import JsonOpt, ProviderOpt
from .output import Output, counted, errors

if TYPE_CHECKING:
    from openai_batch._check import Report
    from openai_batch._profile import Provider

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
    from openai_batch._join import globbed

    names = globbed(files)
    output = Output(as_json=json)
    checked: list[_Verdict] = []
    for name in names:
        found = _judged(name, provider)
        if not json:
            _say(output, found, alone=len(names) == 1)
        checked.append(found)
    if json:
        records = [found.record() for found in checked]
        all_ok = all(found.report.ok for found in checked)
        output.record(records[0] if len(names) == 1 else {"ok": all_ok, "files": records}, "", [])
    bad = [found for found in checked if not found.report.ok]
    if len(names) > 1:
        total = counted(sum(found.report.requests for found in checked), "request")
        if bad:
            verb = "has" if len(bad) == 1 else "have"
            raise InputError(f"{len(bad):,} of {len(names):,} files {verb} problems", hint="mend the files")
        if not json:
            errors.note(f"{len(names):,} files: {total}, all of them fit")
    elif bad:
        raise InputError(bad[0].words(), hint=bad[0].remedy)


@dataclass(frozen=True)
class _Verdict:
    """What the check of one file came to."""

    name: str
    provider: Provider
    report: Report
    remedy: str

    def words(self) -> str:
        """Say it in one line."""
        report = self.report
        if not report.ok:
            return f"{self.name} has {counted(report.problem_count, 'problem')} for {self.provider}"
        warnings = f", {counted(report.warning_count, 'warning')}" if report.warning_count else ""
        requests = counted(report.requests, "request")
        return f"{self.name}: {requests} for {report.endpoint}, fit for {self.provider}{warnings}"

    def record(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return _record(self.name, str(self.provider.name), self.report)


def _judged(name: str, provider: str | None) -> _Verdict:
    from openai_batch._check import check_stream
    from openai_batch._inputs import first_model, looks_like_requests, open_source
    from openai_batch.providers import pick_provider

    with TemporaryDirectory(prefix="obatch-") as folder:
        source = open_source(name, Path(folder))
        chosen = pick_provider(provider, first_model(source) or "gpt")
        prompts = f"prompts are for `obatch run` or `obatch prepare {source.name}`"
        remedy = "mend the file" if looks_like_requests(source) else prompts
        with source.path.open("rb") as handle:
            return _Verdict(source.name, chosen, check_stream(handle, chosen.limits), remedy)


def _say(output: Output, found: _Verdict, *, alone: bool) -> None:
    """Say what is wrong with a file; what is said of a single one that is bad is its error."""
    report = found.report
    output.lines(problem.located(found.name) for problem in report.problems)
    hidden = report.problem_count - len(report.errors)
    if hidden > 0:
        errors.note(f"… and {hidden:,} more")
    if report.ok or not alone:
        errors.note(found.words())


def _record(name: str, provider: str, report: Report) -> dict[str, Any]:
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
