"""Run the examples of a page of the documentation like a reader, against a provider on this machine.

The first line of a block of a page decides its meaning:

    ```csv title="reviews.csv"     a file with this content, in any language
    ```console                     commands after `$ `, each with its output on a terminal of 80 columns
    ```python                      a program; a block `text` just below it is its output
    ```toml                        a configuration file that must be valid

A command without output below it must succeed. `…` stands for any text. Ids of batches and times may differ.
OBATCH_TEST_WRITE_PAGES=1 writes the output of commands and programs into the pages; check it before you commit it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from support.command import environment, invoke, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pexpect import spawn

    from openai_batch.testing.server import FakeServer

ROOT = Path(__file__).parents[2]
WRITE = bool(os.environ.get("OBATCH_TEST_WRITE_PAGES"))
PATIENCE = 60

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PRICES = """
[providers.openai.prices."gpt-4o-mini"]
input = 0.075
cached_input = 0.0375
output = 0.30
"""
"""The prices of OpenAI, because the URL of the examples has none."""

_CONFIGURED = "your configuration"
"""What `obatch` shows as the source of these prices."""

_VARYING = [
    (re.compile(r"genai-prices \d[.\d]*"), "genai-prices 1.0"),
    (re.compile(r"\bbatch_\w+"), "batch_abc123"),
    (re.compile(r"[;,]\s+took\s+\d+\s+s\b|took\s+\d+\s+s;\s+"), ""),
    (re.compile(r"(?<=\d/\d) in \d+ s\b"), ""),
    (re.compile(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d(?: \([^)]*\))?"), "(then)"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "(then)"),
    (re.compile(r"(?<=  )\d+ (?:s|min)(?=  )"), "1 s"),
    (re.compile(r"\btook +\d+ s"), "took 1 s"),
    (re.compile(r"\b\d{4}-\d\d\b(?!-)"), "2026-11"),
    (re.compile(r"in \d+\.\d+s"), "in 1.00s"),
    (re.compile(r"\s+"), " "),
    (re.compile("─+"), "─"),
]
"""What may differ between runs: ids, times, and line breaks."""

_TIDY = [
    (re.compile(r"(?<=\d/\d) in \d+ s\b"), ""),
    (re.compile(r"[;,]\s+took\s+\d+\s+s\b|took\s+\d+\s+s;\s+"), ""),
    (re.compile(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d \(\d+ s ago[^)]*\)"), "26 Nov 12:00:00 (1 s ago)"),
    (re.compile(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d \(in"), "27 Nov 12:00:00 (in"),
    (re.compile(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d$", re.MULTILINE), "26 Nov 12:00:00"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "2026-11-26T12:00:00+00:00"),
]
"""The fixed values that are written to the page instead."""

_SHOWN = "/home/me/reviews"
"""The folder that the pages show; it is as long as the real one, so that lines break at the same places."""


@dataclass
class Page:
    """A page whose examples run in the current folder, with the providers openai and parasail on this machine."""

    path: Path
    server: FakeServer
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Addresses in the examples, and the real addresses used instead."""
    _code: int = 0  # the exit code of the last command
    _running: list[spawn[str]] = field(default_factory=list)

    def run(self) -> int:
        """Run each block of the page in order, and return the number of blocks that were run."""
        self._configure()
        text = self.path.read_text(encoding="utf-8")
        blocks = list(_BLOCK.finditer(text))
        written, done, count = [], 0, 0
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            kind, title, content = block.groups()
            printed = after if after and after[1] == "text" and not text[block.end() : after.start()].strip() else None
            if title:
                self._keep(title, content)
            elif kind == "toml":
                self._check_config(content)
            elif kind == "console":
                written += [text[done : block.start(3)], self._console(content)]
                done = block.end(3)
            elif kind == "python":
                shown = self._python(content, printed and printed[3])
                if printed:
                    written += [text[done : printed.start(3)], shown]
                    done = printed.end(3)
            else:
                continue
            count += 1
        for each in self._running:
            each.close(force=True)
        if WRITE:
            self.path.write_text("".join([*written, text[done:]]), encoding="utf-8")
        return count

    def _configure(self) -> None:
        url = self.server.base_url
        discount = "batch_discount = 0.5\n"
        tables = [f'[providers.{name}]\nbase_url = "{url}"\n{discount}' for name in ("openai", "parasail")]
        upstream = self.replaced.get("http://127.0.0.1:8000/v1")
        tables.append(_PRICES)
        tables.append(f'[providers.local]\nupstream = "{upstream}"\n' if upstream else "")
        Path(os.environ["OBATCH_CONFIG"]).write_text("\n".join(tables), encoding="utf-8")

    def _keep(self, name: str, content: str) -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def _check_config(self, content: str) -> None:
        path = Path("checked.toml")
        path.write_text(content, encoding="utf-8")
        invoke("config", "show", env={"OBATCH_CONFIG": str(path.absolute())}).succeeded()
        path.unlink()

    def _console(self, content: str) -> str:
        """Run the commands of a block, and return the block with their output."""
        told = []
        for command, expected in _commands(content):
            shown = self._command(command, waits=expected if command.rstrip().endswith("&") else None)
            if expected or self._code:
                told.append(f"$ {command}\n{_checked(command, shown, expected)}")
            else:
                told.append(f"$ {command}\n")
        return "".join(told)

    def _command(self, command: str, waits: str | None) -> str:
        """Run a command in a terminal, and return its output; one that ends with & continues in the background."""
        import pexpect  # not available on Windows

        for name, place in self.replaced.items():
            command = command.replace(name, place)
        line = command if waits is None else command.rstrip("& ")
        child = pexpect.spawn(
            "bash",
            ["-c", f"set -o pipefail; (exit {self._code}); {line}"],
            env=environment({"COLUMNS": None, "LINES": None, "NO_COLOR": "1", **_PROGRAMS}),
            dimensions=(40, 80),
            encoding="utf-8",
            timeout=PATIENCE,
        )
        if waits is not None:
            self._running.append(child)
            last = waits.strip().splitlines()[-1]
            child.expect_exact(last.partition("…")[0])
            return waits
        shown = plain(child.read()).replace("\r", "")
        child.close()
        self._code = child.exitstatus if child.exitstatus is not None else 128
        return self._with_page_names(shown)

    def _python(self, program: str, expected: str | None) -> str:
        """Run a program twice, check that the second run pays nothing, and return its output."""
        path = Path("test_program.py" if "def test_" in program else "program.py")
        path.write_text(program, encoding="utf-8")
        words = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"] if "def test_" in program else []
        made = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, *words, str(path)],
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=PATIENCE,
                check=False,
                env=environment({"OPENAI_API_KEY": "sk-not-a-key"}),
            )
            assert done.returncode == 0, f"{self.path.name}: {program}\n{done.stdout}{done.stderr}"
            made.append(len(self.server.batches))
        pays_again = "Batch()" in program or "again=True" in program
        assert made[0] == made[1] or pays_again, f"{self.path.name}: paid twice: {program}"
        return _checked(program, self._with_page_names(done.stdout), expected) if expected else ""

    def _with_page_names(self, shown: str) -> str:
        """Return the output with the names that the pages use instead of the real ones."""
        for name, place in self.replaced.items():
            shown = shown.replace(place, name)
        shown = shown.replace(os.environ["OBATCH_CONFIG"], "~/.config/obatch/config.toml")
        shown = shown.replace(_CONFIGURED, f"genai-prices {version('genai-prices')}")
        return shown.replace(str(Path.cwd()), _SHOWN)


_PROGRAMS = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _commands(content: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block, with its expected output."""
    for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        count = next(n for n, line in enumerate(lines, 1) if not line.rstrip("\n").endswith("\\"))
        yield "".join(lines[:count]).rstrip("\n"), "".join(lines[count:])


def _checked(what: str, shown: str, expected: str) -> str:
    """Return the text for the page; fail if it differs from the output, unless pages are written."""
    shown = "".join(f"{line.rstrip()}\n" for line in shown.rstrip().splitlines())
    pattern = "".join(
        ".*?" if piece == "…" else re.escape(piece) for piece in re.split("(…)", _same(expected.rstrip()))
    )
    if re.fullmatch(pattern, _same(shown.rstrip()), re.DOTALL):
        return expected
    assert WRITE, f"{what}\nprinted:\n{shown}\ninstead of:\n{expected}"
    blank = re.search(r"\n*\Z", expected)
    written = re.sub(r"batch_fake(\d+)", lambda found: f"batch_abc{found[1]:0>3}", shown.rstrip())
    for varying, fixed in _TIDY:
        written = varying.sub(fixed, written)
    return written + (blank[0] if blank and blank[0] else "\n")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose name is as long as the one that the pages show."""
    with tempfile.TemporaryDirectory(prefix="me-", dir="/tmp") as name:
        assert len(name) == len(_SHOWN)
        yield Path(name)


def _same(text: str) -> str:
    for pattern, common in _VARYING:
        text = pattern.sub(common, text)
    return text
