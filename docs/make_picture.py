"""Make `docs/assets/run.svg`: a real run of the command, against a provider on this machine, as a terminal shows it.

    python docs/make_picture.py

`tests/repo/test_docs.py` checks that the command still prints what the picture shows. It needs the terminals of POSIX.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from openai_batch.testing.server import FakeServer

PICTURE = Path(__file__).parent / "assets" / "run.svg"

_TABLE = """text
Great phone and a long battery life.
The lamp arrived broken.
Does what it says.
The zip was broken after a week.
"""
_COMMANDS = [
    ["run", "reviews.csv", "--prompt", "Good or bad? {{ text }}", "-o", "labels.csv", "-m", "gpt-4o-mini"],
    ["results", "1"],
]
_WIDTH = 92
_CONFIG = """[providers.openai]
base_url = "{}"
[providers.openai.prices."gpt-4o-mini"]
input = 0.075
output = 0.30
"""
"""The provider, with OpenAI's prices: for another address they are not known."""


def picture() -> str:
    """Run the commands, and return the picture of what they print."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder, FakeServer(_answer, polls=0) as server:
        home = Path(folder)
        (home / "reviews.csv").write_text(_TABLE, encoding="utf-8")
        (home / "config.toml").write_text(_CONFIG.format(server.base_url), encoding="utf-8")
        (home / "config.toml").chmod(0o600)
        for words in _COMMANDS:
            shown = " ".join(f'"{word}"' if " " in word else word for word in words)
            console.print(Text.assemble(("$ ", "bold green"), (f"obatch {shown}", "bold")))
            console.print(Text.from_ansi(_run(words, home).replace("batch_fake2", "batch_6927a1f0")))
    svg = console.export_svg(title="obatch", unique_id="run")
    return re.sub(r"\s*@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL)  # fonts of another host


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    text = request["body"]["messages"][-1]["content"]
    message = {"role": "assistant", "content": "bad" if "broken" in text else "good"}
    usage = {"prompt_tokens": 8 + len(text) // 4, "completion_tokens": 1}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"object": "chat.completion", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}


def _run(words: list[str], home: Path) -> str:
    """Run a command with its data on a terminal and its messages in a pipe, so that no progress is drawn."""
    ours, its = pty.openpty()
    chosen = {
        "OBATCH_CONFIG": str(home / "config.toml"),
        "OBATCH_STATE_DIR": str(home / "state"),
        "FORCE_COLOR": "1",
        "COLUMNS": str(_WIDTH),
        "TERM": "xterm-256color",
    }
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "OBATCH_PROVIDER")}
    command = [sys.executable, "-m", "openai_batch", *words]
    with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 - a file that is open already
        done = subprocess.run(  # noqa: S603 - the command of this package
            command, cwd=home, env=environment | chosen, stdout=its, stderr=subprocess.PIPE, check=True
        )
        os.close(its)
        shown = b""
        while piece := _read(screen):
            shown += piece
    return (shown + done.stderr).decode().replace("\r\n", "\n").strip("\n") + "\n"


def _read(screen: io.FileIO) -> bytes:
    """Return what is in the terminal; nothing at its end, which Linux reports as an error."""
    try:
        return screen.read(1 << 16) or b""
    except OSError:
        return b""


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")
