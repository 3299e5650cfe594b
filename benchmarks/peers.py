"""The packages that a round trip or a local batch is compared with, each in its own virtual environment.

    python benchmarks/peers.py FOLDER

makes FOLDER/NAME for each; `python benchmarks/run.py --peers FOLDER` then measures them. A package that cannot be
installed here is reported, and has a row that says so.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREVIOUS = "openai-batch-0.3.4"
WORK = Path(__file__).with_name("work.py")


@dataclass(frozen=True, slots=True)
class Peer:
    """A package: the requirements for pip, the program in its `bin`, and the shell line of a round trip with it.

    The line gets the program as $0, the base URL as $1, the source as $2 and, for a runner, the number of requests at a
    time as $3. `source` is the file it reads, with the same requests for all packages; `results` are the files that it
    writes, empty if the program itself counts its answers.
    """

    requirements: tuple[str, ...]
    program: str
    line: str
    source: str
    results: str

    @property
    def title(self) -> str:
        """The package and its version."""
        return self.requirements[0].replace("==", " ")


PEERS = {
    PREVIOUS: Peer(
        ("openai-batch==0.3.4", "openai==2.54.0", "httpx==0.28.1"),
        "python",
        '"$0" -m openai_batch.run "$2" -o previous.jsonl --base-url "$1" --api-key none',
        "input.jsonl",
        "previous.jsonl",
    ),
    "batchwizard": Peer(
        ("batchwizard==0.5.0",),
        "batchwizard",
        '"$0" process "$2" --output-directory . --check-interval 1',
        "input.jsonl",
        "batch_*_results.jsonl",
    ),
    "loom-batch": Peer(
        ("loom-batch==0.7.0",),
        "loom",
        '"$0" run -f "$2" -c prompt -p openai -m gpt-4o-mini --no-cache -o loom.csv --force && "$0" fetch --force',
        "input.csv",
        "loom.csv",
    ),
    "batchwork-ai": Peer(
        ("batchwork-ai==0.3.0",),
        "batchwork",
        '"$0" run text "$2" --model openai/gpt-4o-mini --endpoint chat-completions --base-url "$1"'
        " --poll-interval 1 --allow-large-batch > batchwork.jsonl",
        "input.csv",
        "batchwork.jsonl",
    ),
}

RUNNERS = {
    "saturate": Peer(
        ("saturate==0.2.0",), "python", f'rm -rf saturate && "$0" \'{WORK}\' saturate "$1" "$2" "$3"', "input.jsonl", ""
    ),
    "flexllm": Peer(
        ("flexllm==0.17.10",),
        "flexllm",
        '"$0" batch "$2" -o flexllm.jsonl -c "$3" -m gpt-4o-mini --base-url "$1" --api-key none --save-input false',
        "messages.jsonl",
        "flexllm.jsonl",
    ),
}
"""Programs that send requests to a model server themselves, many at a time, and keep their state for the next run."""


def trips(folder: Path, url: str, home: Path, whole: Callable[[str], Callable[[], str]]) -> Iterator[Command]:
    """Yield each peer's round trip; `whole` makes a function that checks the files of a pattern.

    Each is configured as for OpenAI, keeps its state in `home`, and cannot import packages of other environments.
    """
    env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    env["PYTHONPATH"] = ""
    for name, peer in PEERS.items():
        program = folder / name / "bin" / peer.program
        words = ("sh", "-c", peer.line, str(program), url, peer.source)
        absent = "" if program.exists() else "not installed"
        yield Command(peer.title, words, env, whole(peer.results), may_fail=True, absent=absent)


def runs(
    folder: Path, url: str, workers: int, home: Path, whole: Callable[[str], Callable[[], str]]
) -> Iterator[Command]:
    """Yield each runner's work on the same requests, `workers` at a time."""
    env = {"HOME": str(home), "PYTHONPATH": ""}
    for name, peer in RUNNERS.items():
        program = folder / name / "bin" / peer.program
        words = ("sh", "-c", peer.line, str(program), url, peer.source, str(workers))
        absent = "" if program.exists() else "not installed"
        checked = whole(peer.results) if peer.results else str
        yield Command(peer.title, words, env, checked, may_fail=True, absent=absent)


def python_of(folder: Path, name: str) -> str | None:
    """Return the Python of a peer's environment; None if there is none."""
    python = folder / name / "bin" / "python"
    return str(python) if python.exists() else None


def main(folder: Path) -> int:
    """Make the environments, and return how many could not be made."""
    lacking = 0
    for name, peer in (PEERS | RUNNERS).items():
        place = folder / name
        steps = (
            [sys.executable, "-m", "venv", str(place)],
            [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *peer.requirements],
        )
        done = all(subprocess.run(step, check=False).returncode == 0 for step in steps)
        print(f"{name}: {'ready' if done else 'cannot be installed'}", flush=True)
        lacking += not done
    return lacking


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its folder
        raise SystemExit(__doc__)
    raise SystemExit(1 if main(Path(sys.argv[1]).absolute()) else 0)
