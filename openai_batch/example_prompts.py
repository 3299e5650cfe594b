"""Write some example prompts, one per line: `python -m openai_batch.example_prompts > prompts.txt`."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ACTIONS = (
    "Explain to a ten-year-old",
    "Write a limerick about",
    "List three surprising facts about",
    "Tell a joke that only an expert would make about",
    "Write a polite complaint about",
)

SUBJECTS = (
    "tide pools",
    "sourdough bread",
    "night trains",
    "prime numbers",
    "the moons of Jupiter",
    "queues in a post office",
)

ABSTRACTS = (
    (
        "Wetlands hold back floods by storing water in peat and releasing it slowly. After twelve marshes were "
        "restored, the highest flows downstream fell by a fifth and arrived about nine hours later."
    ),
    (
        "Bread dough rises faster when it is warm, yet its flavour suffers. Sixty tasters preferred slowly proved "
        "loaves, and the preference vanished when the loaves were toasted."
    ),
    (
        "A library that lends tools was opened in each of four towns. Its members bought fewer tools in the next year, "
        "and repairs, not purchases, turned out to be the largest cost."
    ),
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m openai_batch.example_prompts", description="Write example prompts, one a line."
    )
    parser.add_argument("output", nargs="?", default="-", help="file to write, or '-' for standard output")
    parser.add_argument("-n", default=1000, type=int, metavar="N", help="how many prompts (default: 1000)")
    parser.add_argument("--embedding", "-e", action="store_true", help="write texts for an embedding model")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Write the prompts that `args` (by default the command line) ask for, as UTF-8."""
    options = get_parser().parse_args(args)
    with _opened(options.output) as write:
        for prompt in prompts(options.n, embedding=options.embedding):
            write(prompt)


def prompts(count: int, *, embedding: bool = False) -> Iterator[str]:
    """Yield `count` random prompts, or with `embedding` random texts for an embedding model."""
    for _ in range(count):
        if embedding:
            yield random.choice(ABSTRACTS)  # noqa: S311 - not for secrets
        else:
            yield f"{random.choice(ACTIONS)} {random.choice(SUBJECTS)}."  # noqa: S311


@contextlib.contextmanager
def _opened(name: str) -> Iterator[_Write]:
    """Give a function that writes one line to the file called `name`, or to standard output for `-`."""
    if name == "-":
        out = getattr(sys.stdout, "buffer", None)
        if out is None:
            yield lambda line: sys.stdout.write(f"{line}\n")
        else:
            sys.stdout.flush()
            yield lambda line: out.write(f"{line}\n".encode())
        sys.stdout.flush()
    else:
        with Path(name).open("w", encoding="utf-8", newline="\n") as handle:
            yield lambda line: handle.write(f"{line}\n")


if TYPE_CHECKING:
    from collections.abc import Callable

    _Write = Callable[[str], object]


if __name__ == "__main__":
    from .batch.program import run_program

    run_program(main)
