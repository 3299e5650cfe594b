"""Run a batch from start to finish: `python -m openai_batch.run batch.jsonl`.

The exit code is 0 if every request was answered, 5 if not, else that of the error (see `errors`).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batch.batch import DRY_RUN_ID, Batch
from .batch.follow import follow
from .batch.provider_arguments import add_provider_args, provider_of
from .errors import BatchError, IncompleteError, StoppedError, UncertainError, UsageError
from .escapes import escape_newlines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openai.types.batch import Batch as OpenAIBatch

INTERVAL = 60.0  # the longest time between two polls, in seconds


@dataclass(slots=True)
class BatchOutcome:
    """What a run has done so far."""

    batch_id: str | None = None  # None: no batch is known to exist
    ended: OpenAIBatch | None = None  # the batch after its end
    answered: int | None = None  # requests that were answered; None if unknown
    requests: int | None = None  # requests in the batch; None if unknown


def get_parser(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:  # noqa: ARG001 - as in 0.3.4
    """Return the parser of the command line. `argv` is not used."""
    parser = argparse.ArgumentParser(
        prog="python -m openai_batch.run",
        description="Start a batch, wait for it, and download its results.",
        epilog="exit codes: 0 every request was answered, 5 some were not, 130 interrupted (the batch keeps running)",
    )
    parser.add_argument("input_file", nargs="?", help="batch input (.jsonl); '-' is standard input")
    parser.add_argument("--output-file", "-o", metavar="FILE", help="where results go; '-' is standard output")
    parser.add_argument("--error-file", "-e", metavar="FILE", help="where failed requests go; '-' is standard error")
    parser.add_argument("--resume", metavar="ID", help="continue a batch that exists")
    parser.add_argument("--create", "-c", action="store_true", help="only create the batch, do not wait for it")
    parser.add_argument("--dry-run", "-n", action="store_true", help="check everything, send and write nothing")
    add_provider_args(parser)
    return parser


def main(args: Sequence[str] | None = None) -> str | None:
    """Do what `args` (by default the command line) ask for, and return the batch's id. Raises BatchError."""
    return _run(get_parser().parse_args(args), BatchOutcome()).batch_id


def _run(options: argparse.Namespace, outcome: BatchOutcome) -> BatchOutcome:
    """Start or resume the batch. `outcome` is filled in step by step, so that it is valid after an error too."""
    if not options.resume and not options.input_file:
        raise UsageError("no input file", hint="name a batch input file, '-' for standard input, or --resume ID")
    if options.resume and options.input_file:
        raise UsageError("an input file and --resume exclude each other", hint="leave one of them out")
    say = _printer(options)
    batch = Batch(
        submission_input_file=sys.stdin.buffer if options.input_file == "-" else options.input_file,
        output_file=_handle(options.output_file, "stdout"),
        error_file=_handle(options.error_file, "stderr"),
        batch_id=options.resume,
        provider=provider_of(options),
    )
    with batch:
        if options.dry_run:
            _dry_run(batch, options, outcome, say)
        else:
            _real_run(batch, options, outcome, say)
    return outcome


def _dry_run(batch: Batch, options: argparse.Namespace, outcome: BatchOutcome, say: Callable[[str], None]) -> None:
    """Check the input, and print what a real run would do."""
    if options.resume:
        say(f"Would wait until {options.resume} is complete.")
    else:
        batch.submit(dry_run=True)
        then = "exit." if options.create else "wait for it to finish."
        say(f"Would start batch with {batch.n_requests} requests then {then}")
    outcome.batch_id = options.resume or DRY_RUN_ID
    if options.resume or not options.create:
        say(f"Status of {outcome.batch_id}: completed")


def _real_run(batch: Batch, options: argparse.Namespace, outcome: BatchOutcome, say: Callable[[str], None]) -> None:
    """Submit the batch or resume one, wait for it, and download its files."""
    if options.resume:
        outcome.batch_id = options.resume
    else:
        outcome.batch_id = batch.submit()
        say(f"Created {outcome.batch_id}.")
        if options.create:
            say(f"This script now exits. Resume later with: --resume {outcome.batch_id}")
            return
        say("This script will now wait for batch to finish, then it will download the output.")
        say(f"You may Ctrl+C and resume later with: --resume {outcome.batch_id}")
    if batch.provider is None:
        batch.auto_detect_provider()
    ended = follow(
        batch.status,
        interval=INTERVAL,
        on_status=lambda polled: say(f"Status of {outcome.batch_id}: {polled.status}"),
        provider=batch.provider,
    )
    say(f"Downloading results for {outcome.batch_id}...")
    results, errors = batch.download()
    for kind, place in (("Results", results), ("Errors", errors)):
        if isinstance(place, str):
            say(f"{kind} saved to {place}.")
    outcome.ended = ended
    counts = ended.request_counts
    outcome.requests = batch.n_requests or (counts.total if counts else None)
    if results is None or (isinstance(results, str) and Path(results).is_file()):
        outcome.answered = _count_answered(Path(results)) if results else 0
    elif counts:
        outcome.answered = counts.completed


def _printer(options: argparse.Namespace) -> Callable[[str], None]:
    """Return a function that prints a message: to standard error if the results go to standard output."""
    stream = sys.stderr if options.output_file == "-" else sys.stdout

    def say(text: str) -> None:
        print(escape_newlines(text), file=stream, flush=True)

    return say


def _handle(name: str | None, standard: str) -> Any:
    return getattr(sys, standard) if name == "-" else name


def _count_answered(results: Path) -> int:
    """Count the requests that were answered. The provider's own count may be wrong."""
    from .results.result import Result
    from .results.result_line import UNREADABLE

    count = 0
    with results.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(*UNREADABLE):
                count += Result.of(line).outcome.answered
    return count


def _require_success(outcome: BatchOutcome, resume: str) -> None:
    """Raise IncompleteError if the batch has ended and not every request was answered."""
    if outcome.ended is None:
        return
    if outcome.ended.status != "completed":
        raise IncompleteError(f"batch {outcome.batch_id} ended as {outcome.ended.status}", hint=f"see: {resume}")
    missing = (outcome.requests or 0) - (outcome.answered or 0)
    if missing > 0:
        raise IncompleteError(
            f"{missing} of {outcome.requests} requests of batch {outcome.batch_id} did not succeed",
            hint="the error file says why",
        )


def _program() -> int:
    """Run the command line as a program, and return its exit code."""
    options = get_parser().parse_args()
    outcome = BatchOutcome()
    try:
        _run(options, outcome)
    except KeyboardInterrupt:
        raise _interrupted(options, outcome) from None
    except UncertainError as exc:
        # This program stores nothing, so another run would create a second batch.
        exc.hint = (
            "look at the provider's list of batches; if it is there, continue it with --resume ID, else run this again"
        )
        raise
    except BatchError as exc:
        if outcome.batch_id:
            exc.hint = f"batch {outcome.batch_id} keeps running; resume with: {_resume_command(options, outcome)}"
        raise
    _require_success(outcome, _resume_command(options, outcome))
    return 0


def _interrupted(options: argparse.Namespace, outcome: BatchOutcome) -> StoppedError:
    if outcome.batch_id:
        return StoppedError(
            f"interrupted; batch {outcome.batch_id} keeps running",
            hint=f"resume with: {_resume_command(options, outcome)}",
        )
    return StoppedError(
        "interrupted before the provider confirmed a batch",
        hint="before you run this again, look at the provider's list of batches: one may have been created",
    )


def _resume_command(options: argparse.Namespace, outcome: BatchOutcome) -> str:
    """Return the command that resumes the batch, without the key."""
    command = ["python -m openai_batch.run --resume", str(outcome.batch_id)]
    for flag, value in (
        ("-p", options.provider),
        ("--base-url", options.base_url),
        ("-o", options.output_file),
        ("-e", options.error_file),
    ):
        if value:
            command += [flag, value]
    return " ".join(command)


if __name__ == "__main__":
    from .batch.program import run_program

    run_program(_program)
