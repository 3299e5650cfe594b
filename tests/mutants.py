"""Plant known bugs, one at a time, in a copy of the tree, and check that the tests find each of them.

    python tests/mutants.py              all of them, two at a time; exits with 1 if a bug is not found
    python tests/mutants.py NAME ...     only these
    python tests/mutants.py --list       list the bugs

`mutants.toml` contains the bugs: exact replacements, and the tests that must fail. A replacement that does
not apply exactly once is a failure as well, so the list stays current. The checkout itself is never changed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUGS = Path(__file__).with_suffix(".toml")
PATIENCE = 300
"""Time limit in seconds for the tests of one bug; tests that hang have found it too. Without a bug, for each test."""


@dataclass(frozen=True)
class Edit:
    """One exact replacement in a file of the package."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return `text` with the replacement. Raises ValueError unless it applies exactly once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: the text to replace stands there {found} times")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """One bug, and the tests that must find it."""

    name: str
    bug: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    def plant(self, root: Path) -> None:
        """Write the bug into the tree at `root`. Raises ValueError if a replacement does not apply."""
        for edit in self.edits:
            path = root / "openai_batch" / edit.file
            text = edit.applied(path.read_text(encoding="utf-8"))
            compile(text, edit.file, "exec")
            path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Verdict:
    """The result for one bug: the test that found it, or why none did."""

    mutant: Mutant
    caught_by: str
    trouble: str
    seconds: float


def read_mutants() -> list[Mutant]:
    """Return every bug in the list."""
    tables = tomllib.loads(BUGS.read_text(encoding="utf-8"))
    return [
        Mutant(name, table["bug"], tuple(Edit(**edit) for edit in table["edits"]), tuple(table["tests"]))
        for name, table in tables.items()
    ]


def copy_tree(target: Path) -> None:
    """Copy the files that the tests need."""
    for name in ("openai_batch", "tests", "completions"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)


def run_tests(root: Path, tests: tuple[str, ...], patience: int = PATIENCE) -> tuple[int, str]:
    """Run tests in a copy; return pytest's exit code and output (1 and a message if they take over `patience` s)."""
    words = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-x", "-q", "--all"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OBATCH_")}
    env = kept | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    names = [f"tests/{test}" for test in tests]
    try:
        done = subprocess.run(
            [*words, *names], cwd=root, env=env, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return 1, f"FAILED {names[0]} - no end within {patience} s"
    return done.returncode, done.stdout + done.stderr


def try_mutant(mutant: Mutant) -> Verdict:
    """Plant one bug in a fresh copy, and run its tests."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        copy_tree(root)
        try:
            mutant.plant(root)
        except ValueError as exc:
            return Verdict(mutant, "", f"DOES NOT APPLY: {exc}", 0.0)
        code, said = run_tests(root, mutant.tests)
    found = re.search(r"^(?:FAILED|ERROR) tests/(.*?)(?: - .*)?$", said, re.MULTILINE)
    caught = found[1] if code == 1 and found else ""
    trouble = "" if caught else "SURVIVED" if code == 0 else f"NOT RUN (pytest ended with {code}): {said[-300:]}"
    return Verdict(mutant, caught, trouble, time.monotonic() - begun)


def baseline(mutants: list[Mutant]) -> str:
    """Run the tests of these bugs without any bug; return the output if one fails. A failing test proves nothing."""
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy_tree(Path(folder))
        code, said = run_tests(Path(folder), tests, PATIENCE * len(tests))
    return said if code else ""


def show(verdict: Verdict) -> None:
    """Print a row of the table."""
    mutant = verdict.mutant
    files = ", ".join(dict.fromkeys(edit.file for edit in mutant.edits))
    word = verdict.trouble or "caught"
    print(f"{mutant.name:<26} {files:<16} {word:<8} {verdict.seconds:5.1f} s  {verdict.caught_by}", flush=True)
    if verdict.trouble:
        print(f"{'':<26} {mutant.bug}; not seen by: {' '.join(mutant.tests)}", flush=True)


def main() -> int:
    """Try the named bugs, or all, and return the exit code."""
    parser = argparse.ArgumentParser(description="Plant bugs and see that the tests find them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs to plant (all by default)")
    parser.add_argument("--list", action="store_true", help="show the bugs")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="bugs tried at once (2)")
    options = parser.parse_args()
    mutants = read_mutants()
    if options.list:
        print("\n".join(f"{mutant.name:<26} {mutant.bug}" for mutant in mutants))
        return 0
    known = {mutant.name: mutant for mutant in mutants}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no bug {', '.join(unknown)}; --list shows them")
    chosen = [known[name] for name in options.names] or mutants
    if red := baseline(chosen):
        print(f"the tests are red without any bug:\n{red[-3000:]}")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(try_mutant, chosen):
            show(verdict)
            verdicts.append(verdict)
    alive = [verdict for verdict in verdicts if verdict.trouble]
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} bugs caught")
    _keep_figures(len(verdicts), len(alive))
    return int(bool(alive))


def _keep_figures(tried: int, alive: int) -> None:
    """Add the counts, as a line of JSON, to the file that OBATCH_TEST_FIGURES names."""
    if path := os.environ.get("OBATCH_TEST_FIGURES"):
        with Path(path).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"test": "mutants.py", "bugs": tried, "survived": alive}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
