"""Standard output as on other systems: another encoding, and other line endings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import environment, invoke, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer


def python(*words: str) -> str:
    """Run Python with a limited console encoding, and return its standard output."""
    env = environment({"PYTHONIOENCODING": "cp1252:strict"})
    done = subprocess.run([sys.executable, *words], capture_output=True, check=False, env=env)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("cp1252")


def test_lines_end_alike_on_each_system() -> None:
    r"""Lines end in `\n`, even if text files have `\r\n`."""
    told = python(
        "-c",
        r"import sys; sys.stdout.reconfigure(newline='\r\n');"
        " from openai_batch.cli.main import main; sys.exit(main(['providers']))",
    )
    assert told.count("\n") > 1
    assert "\r" not in told


@pytest.mark.slow
def test_the_programs_show_every_character(faulty: FaultServer) -> None:
    """A file name that the console cannot show is escaped."""
    write("in.jsonl", [request("a")])
    told = python(
        *("-m", "openai_batch.run", "in.jsonl", "--base-url", faulty.base_url, "--api-key", "k", "-o", "日本.jsonl")
    )
    assert "\\u65e5\\u672c.jsonl" in told
    assert Path("日本.jsonl").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_program_whose_messages_cannot_be_written_does_not_fail(faulty: FaultServer) -> None:
    """If standard error is full, the programs of 0.3.4 still exit with code 0."""
    write("in.jsonl", [request("a")])
    write("out.jsonl", [request("other")])  # will be renamed, with a warning
    words = ["-m", "openai_batch.run", "in.jsonl", "--base-url", faulty.base_url, "--api-key", "k", "-o", "out.jsonl"]
    env = environment()
    env.pop("PYTHONUNBUFFERED", None)
    with Path("/dev/full").open("wb") as full:
        subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, stderr=full, check=True, env=env)
    assert Path("out.jsonl.1").exists()


@pytest.mark.slow
def test_every_file_is_opened_with_its_encoding(faulty: FaultServer) -> None:
    """No file is opened with the default encoding of the system."""
    env = {"PYTHONWARNDEFAULTENCODING": "1", "PYTHONWARNINGS": "error::EncodingWarning", "VISUAL": "true"}
    Path("prompts.txt").write_text("gr\u00fc\u00dfe\n", encoding="utf-8")
    for words in (
        ["run", "prompts.txt", "-m", "fault:end=completed", "-p", "faulty", "-o", "out.csv"],
        ["results", "1"],
        ["config", "set", "providers.faulty.display_name", "F\u00e4ulty"],
        ["config", "edit"],
        ["config", "show"],
        ["doctor", "faulty"],
    ):
        result = invoke(*words, env=env).succeeded()
        assert "EncodingWarning" not in result.err
    assert "EncodingWarning" not in see("run", "prompts.txt", "-m", "m", "-p", "faulty", "-o", "-", env=env).out
    assert faulty.batches
