"""Measure the commands and the library against references, and print one table.

    python benchmarks/run.py [NAME…] [--peers FOLDER] [--quick] [--rounds N] [--prompts N] …

Each figure is that of a whole process, as the operating system counts it: the median of several runs, with the commands
of a case in turn (A B A B …). With `--peers`, the packages in the folder that peers.py has made are measured too.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cases import CASES, HERE, Bench, Sizes
from measure import Case, Figures, measure

_FULL = Sizes(1_000_000, 200, 50_000, 200_000, 10_000, 20, (10_000, 100_000, 1_000_000))
_QUICK = Sizes(20_000, 8, 2_000, 5_000, 500, 5, (200, 2_000, 20_000))
_PACKAGES = ("openai-batch", "openai", "msgspec", "typer", "rich")
_NAME = 40


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="obatch-bench-") as folder:
        chosen = _QUICK if options.quick else _FULL
        given = {name: getattr(options, name) or getattr(chosen, name) for name in Sizes.__dataclass_fields__}
        bench = Bench(Path(folder), Sizes(**given), options.peers)
        rounds = options.rounds or 3
        _head()
        for name in options.names or CASES:
            for case in CASES[name](bench):
                runs = 1 if options.quick else case.rounds or rounds
                _show(case, runs, measure(case, runs, bench.folder, bench.environment()))
            bench.clear()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure obatch against references, and print one table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which cases: {', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument(
        "--rounds", type=int, help="runs of each command, where a case has no number of its own (default: 3)"
    )
    parser.add_argument("--peers", type=_folder, help="folder that peers.py has made: measure what is in it too")
    parser.add_argument("--prompts", type=int, help="prompts to prepare")
    parser.add_argument("--megabytes", type=int, help="size of the file to check, and to send and fetch, in MB")
    parser.add_argument("--requests", type=int, help="requests in that file, and in a round trip")
    parser.add_argument("--results", type=int, help="results to join")
    parser.add_argument("--jobs", type=int, help="jobs to list")
    parser.add_argument("--parts", type=int, help="parts of a job over a slow link")
    parser.add_argument("--growth", type=int, nargs="+", help="sizes to grow through, in rows")
    options = parser.parse_args()
    for name in options.names:
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
    return options


def _head() -> None:
    """Print the date, the machine and the versions."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores"
    )
    print(f"load average at the start {load}: other programs on the machine increase the wall seconds")
    print(f"Python {platform.python_version()}, {_versions(sys.executable, *_PACKAGES)}")
    print("medians of several runs, in turn; one run of commands that take over a minute")
    print("ratios: the first command of a case ÷ this one (CPU, wall)")
    print(f"peak memory is that of the largest process, and at least the {_own_peak():.0f} MB of this runner")
    print()
    print(f"{'':{_NAME}}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}{'a second':>16}{'÷ CPU':>8}{'÷ wall':>8}")


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _show(case: Case, runs: int, figures: list[Figures | str]) -> None:
    """Print the rows of a case."""
    print(f"{case.title} ({runs} {'run' if runs == 1 else 'runs'} of each)")
    amounts = case.amounts or [case.amount] * len(figures)
    for number, (command, found, amount) in enumerate(zip(case.commands, figures, amounts, strict=True)):
        if isinstance(found, str):
            print(f"  {command.name:{_NAME - 2}}  {found}", flush=True)
            continue
        usage = found.usage
        rate = f"{amount / usage.wall:,.0f} {case.unit}" if amount else ""
        ratios = f"{found.cpu_ratio:8.2f}{found.wall_ratio:8.2f}" if number else ""
        row = f"  {command.name:{_NAME - 2}}{usage.cpu:9.2f}{usage.wall:9.2f}{usage.peak / 1e6:9.0f}{rate:>16}{ratios}"
        print(row.rstrip(), flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def _versions(python: str, *names: str) -> str:
    """Ask a Python for versions, in a separate process, to keep this one small."""
    words = [python, str(HERE / "work.py"), "versions", *names]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _own_peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main()
