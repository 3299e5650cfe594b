"""Run the real command like a user: in its own process, or in its own terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMAND = [sys.executable, "-m", "openai_batch"]
PATIENCE = 90
STOPS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The tab-separated fields of standard output, line by line."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def fields(self) -> dict[str, str]:
        """The values of a record in a pipe, by label."""
        return {row[0]: row[1] for row in self.rows}

    def failed(self, code: int, message: str, hint: str = "") -> Result:
        """Assert an expected failure: its exit code, and an `error:` and a `hint:` line that contain these texts."""
        told = [line for line in self.err.splitlines() if line.startswith(("error:", "hint:"))]
        assert self.code == code, self
        assert [line.split(":")[0] for line in told] == ["error", "hint"], self
        assert message in self.err.partition("error:")[2].partition("hint:")[0], self
        assert hint in told[1], self
        return self

    def succeeded(self) -> Result:
        """Assert that it exited with 0."""
        assert self.code == 0, self
        return self


def environment(env: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment with these changes; None removes a variable."""
    changed = {**os.environ, **(env or {})}
    return {name: value for name, value in changed.items() if value is not None}


def invoke(*words: str, stdin: str | bytes = b"", env: Mapping[str, str | None] | None = None) -> Result:
    """Run `obatch` with `words`; a traceback is a failure."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*COMMAND, *words], input=given, capture_output=True, env=environment(env), timeout=PATIENCE, check=False
    )
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.err, result.err
    return result


def inside(*words: str, env: Mapping[str, str | None] | None = None) -> Result:
    """Run `obatch` with `words` in this process, which is faster; a traceback is a failure."""
    from openai_batch.cli.main import main

    before, handlers = dict(os.environ), {number: signal.getsignal(number) for number in STOPS}
    written = [io.BytesIO(), io.BytesIO()]
    streams = [io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in written]
    changed = environment(env)
    os.environ.clear()
    os.environ.update(changed)
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            code = main(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    out, err = (each.getvalue().decode() for each in written)
    assert "Traceback" not in err, err
    return Result(code, out, err)


class Terminal:
    """`obatch` in its own terminal, 100 columns wide; `first` is a program that runs before it."""

    def __init__(
        self, *words: str, env: Mapping[str, str | None] | None = None, columns: int = 100, first: str = ""
    ) -> None:
        import pexpect

        if not hasattr(pexpect, "spawn"):
            pytest.skip("Windows has no terminals of this kind")
        self.child = pexpect.spawn(
            sys.executable,
            ["-c", f"{first}\nimport sys; from openai_batch.__main__ import main; sys.exit(main())", *words]
            if first
            else ["-m", "openai_batch", *words],
            env=environment({"COLUMNS": None, "LINES": None, **(env or {})}),
            dimensions=(40, columns),
            encoding="utf-8",
            timeout=PATIENCE,
        )

    def finish(self) -> Result:
        """Wait until it ends, and return the exit code and everything that was shown."""
        shown = self.child.read()
        self.child.close()
        code = self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus
        assert "Traceback" not in shown, shown
        return Result(code, shown, "")


def see(*words: str, env: Mapping[str, str | None] | None = None, columns: int = 100) -> Result:
    """Run `obatch` in a terminal until it ends."""
    return Terminal(*words, env=env, columns=columns).finish()


def plain(shown: str) -> str:
    """Return what a terminal shows, without colors and cursor movements and with plain line ends."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


def request(custom_id: str, model: str = "echo-1", text: str = "Hi", **body: Any) -> dict[str, Any]:
    """Return a chat request in the form of a batch file."""
    messages = [{"role": "user", "content": text}]
    content = {"model": model, "messages": messages, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": content}


def write(name: str, requests: Iterable[Any]) -> Path:
    """Write a batch file."""
    path = Path(name)
    path.write_text("".join(json.dumps(item) + "\n" for item in requests), encoding="utf-8")
    return path


def ids(path: str | Path) -> list[str]:
    """Return the custom ids of a file of requests or results, in file order."""
    return [json.loads(line)["custom_id"] for line in Path(path).read_text(encoding="utf-8").splitlines()]
