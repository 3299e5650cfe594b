"""Make a batch input file from prompts: `python -m openai_batch.create_batch_input prompts.txt batch.jsonl`.

`create_batch` and `create_input` are other names of this program.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .batch.batch import Batch
from .batch.provider_arguments import add_provider_arg, provider_of
from .errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .providers.provider import Provider

__all__ = ["Batch", "get_parser", "main"]

DEFAULT_CHAT_MODEL = "gpt-4"
DEFAULT_EMBEDDING_MODEL = "text-embedding-3-small"


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m openai_batch.create_batch_input",
        description="Make a batch input file: one request for each line of a prompts file that is not blank.",
    )
    parser.add_argument("input", nargs="?", default="-", help="prompts, one a line, UTF-8; '-' is standard input")
    parser.add_argument("output", nargs="?", default="-", help="batch input to write; '-' is standard output")
    parser.add_argument(
        "--model",
        help=f"the model (default: {DEFAULT_CHAT_MODEL}; with -e {DEFAULT_EMBEDDING_MODEL}; with -p the provider's)",
    )
    parser.add_argument("--embedding", "-e", action="store_true", help="ask for embeddings of the lines")
    parser.add_argument("--score", metavar="TEXT", help="score each line (text_2) against TEXT (text_1)")
    parser.add_argument("--rerank", metavar="QUERY", help="rank each line, a document of its own, for QUERY")
    add_provider_arg(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Write the batch input that `args` (by default the command line) ask for.

    Raises InputError if the prompts are not UTF-8, or are over the provider's limits for one batch.
    """
    options = get_parser().parse_args(args)
    provider = provider_of(options)
    model = options.model or _default_model(provider, embedding=options.embedding)
    output: Any = options.output if options.output != "-" else getattr(sys.stdout, "buffer", sys.stdout)
    with _opened(options.input) as lines, Batch(submission_input_file=output, provider=provider) as batch:
        for prompt in _prompts(lines, options.input):
            batch.add_to_batch(model=model, **_request_arguments(options, prompt))
        if not batch.n_requests and options.output != "-":
            Path(options.output).touch()


def _request_arguments(options: argparse.Namespace, prompt: str) -> dict[str, Any]:
    """Return the arguments of `Batch.add_to_batch` for one prompt; they decide the kind of request."""
    if options.score:
        return {"text_1": options.score, "text_2": prompt}
    if options.rerank:
        return {"query": options.rerank, "documents": [prompt]}
    if options.embedding:
        return {"input": prompt}
    return {"messages": [{"role": "user", "content": prompt}]}


def _default_model(provider: Provider | None, *, embedding: bool) -> str:
    if provider is None or provider.name == "openai":
        return DEFAULT_EMBEDDING_MODEL if embedding else DEFAULT_CHAT_MODEL
    default = provider.default_embedding_model if embedding else provider.default_chat_model
    if not default:
        raise UsageError(f"which model? {provider} has no default", hint="name it with --model")
    return default


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as handle:
            yield handle


def _prompts(lines: BinaryIO, name: str) -> Iterator[str]:
    """Yield each line that is not blank, without its line end. Nothing else is stripped."""
    for number, line in enumerate(lines, 1):
        raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        try:
            text = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as exc:
            where = name if name != "-" else "<stdin>"
            raise InputError(
                f"{where}:{number}: not UTF-8 at byte {exc.start + 1}", hint="save the file as UTF-8"
            ) from None
        if text.strip():
            yield text


if __name__ == "__main__":
    from .batch.program import run_program

    run_program(main)
