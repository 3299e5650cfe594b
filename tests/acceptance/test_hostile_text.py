"""Every command with hostile text in every field: no control character reaches a terminal or a pipe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomlkit
from support.command import COMMAND, PATIENCE, environment, inside, request, see, write

from openai_batch.cli.completion_scripts import read_commands
from openai_batch.errors import UsageError
from openai_batch.escapes import escape_controls, escape_json, escape_newlines
from openai_batch.providers.marks import check_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import FaultServer

pytestmark = pytest.mark.slow

# Window title, link, clipboard, clear screen, cursor, concealed text, C1, and markup.
CONTROLS = (
    "\x1b]0;owned\x07\x1b]8;;http://evil.invalid\x1b\\x\x1b]52;c;AAAA\x07\x1b[2J\x1b[9A\x1b[8m\x9b8m\x7f\r\b"
    "[red]x[/y][link=http://evil.invalid]\u202e\u2066\u200d\u200b\ufeff\u2028\U000e0041"
)
FORGED = "\nhint: forged\nerror: forged\nwarning: forged"
NAME = (CONTROLS + FORGED).replace("/", "")
"""Hostile text that can be a file name."""

WORDS = CONTROLS + FORGED + "\x00" + "long " * 4000
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A")
"""The escape codes that Rich writes: colors, and for progress bars those that hide and move the cursor."""

IN, TABLE, BAD = f"in{NAME}.jsonl", f"table{NAME}.csv", f"bad{NAME}.jsonl"

CASES: dict[str, list[list[str]]] = {
    "run": [["-o", "-", "-p", "faulty", IN], ["-p", NAME, IN], ["--timeout", NAME, IN], ["-m", NAME, "--example"]],
    "prepare": [
        ["-p", "faulty", "-m", NAME, "--prompt", "{{ text }}", TABLE],
        ["-p", "faulty", "-m", NAME, "--show", "1", "--prompt", "{{ text }}", TABLE],
        ["--format", NAME, TABLE],
        ["-m", "m", "--prompt", f"@{NAME}", TABLE],
        ["-m", "m", "--schema", "schema.json", TABLE],
    ],
    "check": [["-p", "faulty", BAD], [IN, BAD], [f"no{BAD}\udcff"], ["-p", "faulty", IN, "--json"]],
    "cost": [[], ["--json"], ["-p", "faulty", IN], ["-p", "faulty", BAD], ["-p", NAME, IN], ["-m", NAME, TABLE]],
    "sample": [["-p", "faulty", IN], ["-p", "faulty", IN, "--json"], ["-p", NAME, IN], ["-m", NAME, TABLE]],
    "submit": [["-p", "faulty", BAD], ["-p", "faulty", IN, "--dry-run"], ["-p", "faulty", IN, "--name", "\udcff"]],
    "status": [["1"], ["2"], ["3"], ["1", "--json"], [NAME], ["batch_x", "-p", "faulty"]],
    "wait": [
        ["1", "2"],
        ["1", "--notify", NAME],
        ["1", "--notify", f"cmd:{NAME}"],
        ["2"],
        ["3", "--timeout", "0"],
        ["1", "3", "--timeout", "0"],
        ["2", "--json"],
    ],
    "download": [
        ["1", "-o", "-"],
        ["1", "-o", f"out{NAME}.jsonl"],
        ["2", "-o", "-"],
        ["1", "--raw", f"raw{NAME}"],
        ["1", "--as", NAME],
    ],
    "results": [["1"], ["1", "--json"], ["1", "--as", "csv"], ["2"], ["1", "-o", f"rows{NAME}.csv", "--strict"]],
    "report": [["1"], ["1", "--json"], ["2"], ["1", "--html", f"r{NAME}.html"], ["3"]],
    "stats": [[IN], [BAD], [IN, "--json"], [f"no{BAD}"]],
    "import": [[BAD, "--input", IN], [IN, "--input", IN], [f"no{BAD}", "--input", IN], ["two.jsonl", "--input", BAD]],
    "export": [
        [IN, "-o", f"e{NAME}.jsonl"],
        [BAD, "-o", f"e{NAME}.parquet"],
        [NAME, "-o", "x.jsonl"],
        ["1", "-o", NAME],
    ],
    "retry": [["1", "--dry-run"], ["1", "--where", NAME], ["2", "--dry-run"], ["2", "--json", "--dry-run"]],
    "cancel": [["1"], ["3", "--dry-run"], ["3", "1"], [NAME]],
    "recover": [["-p", "faulty"], ["-p", NAME], []],
    "ls": [[], ["--json"], ["--remote"], ["--status", NAME], ["-p", NAME], ["-q"]],
    "rm": [["2", "--dry-run"], ["1", "--dry-run"], [NAME + "x"]],
    "prune": [["--older-than", "0s", "--dry-run"], ["--older-than", NAME], ["--remote", "1"], ["--remote", NAME, "-n"]],
    "providers": [[], ["--json"], ["-q"]],
    "providers add": [[NAME, "--base-url", "https://x.invalid"], ["x", "--base-url", NAME]],
    "providers show": [[NAME], [NAME, "--json"], ["local"], ["no" + NAME]],
    "providers test": [["faulty"], [NAME], [NAME, "--json"], ["no" + NAME]],
    "providers rm": [["no" + NAME], ["faulty"]],
    "config path": [[], ["--json"]],
    "config show": [[], ["--json"], ["-p", NAME]],
    "config set": [["provider", NAME + "x"], [NAME, "x"], ["providers.faulty.display_name", CONTROLS]],
    "config unset": [[NAME], ["providers.faulty.models"]],
    "config edit": [[]],
    "doctor": [[NAME], ["faulty"], ["faulty", "--json"], [f"http://127.0.0.1:9/{NAME}"]],
    "serve": [["--token-env", NAME], ["--upstream", NAME], ["--model-file", NAME]],
    "worker": [
        [f"/nowhere{NAME}", "batch_x", "--upstream", "http://127.0.0.1:9/v1"],
        ["/nowhere", NAME, "--upstream", "http://127.0.0.1:9/v1"],
        ["/nowhere", "batch_x", "--upstream", NAME],
        ["/nowhere", "batch_x", "--engine", NAME],
    ],
}
"""The arguments to run each command with. Each is also run with an unknown option, and with too many arguments."""

DATA = ("run", "prepare", "results", "download")
"""Commands whose standard output, in a pipe, is data that is not escaped."""


def hostile_row(custom_id: str, *, good: bool) -> bytes:
    """Return a result line with hostile text wherever there is text."""
    error = {"code": WORDS, "message": WORDS, "param": WORDS}
    message = {"role": "assistant", "content": WORDS}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} if good else {"error": error}
    row = {"id": WORDS, "custom_id": custom_id, "response": {"status_code": 200 if good else 400, "body": body}}
    return json.dumps({**row, "error": None}).encode() + b"\n"


@pytest.fixture
def jobs(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """Make three jobs with hostile names, files, errors and answers: 1 completed, 2 failed, 3 still running."""
    monkeypatch.setenv("VISUAL", "true")
    errors = [{"code": WORDS, "message": WORDS, "line": 2, "param": WORDS}, WORDS]
    faulty.also = {"errors": {"data": errors}, "model": WORDS, "usage": {WORDS: 5}}
    profile = {"base_url": f"{faulty.base_url}/%1b[2J", "display_name": NAME, "models": [NAME]}
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as config:
        config.write(tomlkit.dumps({"providers": {NAME: profile, "local": {"model_path": "/\x1b[2J\u202e"}}}))
    write(IN, [request("a", "fault:rows=mixed"), request("b", "fault:rows=mixed")])
    write("two.jsonl", [request("a", "fault:end=failed")])
    step = CONTROLS.replace(";", "")
    write("three.jsonl", [request("a", f"fault:steps={','.join([step] * 99)}")])
    Path(TABLE).write_text(f'text,{CONTROLS!r}\n"{CONTROLS}",x\n', encoding="utf-8")
    Path(BAD).write_text(json.dumps({"custom_id": WORDS}) + "\nnot json\n", encoding="utf-8")
    Path("schema.json").write_text(json.dumps({"type": "object", "properties": {CONTROLS: {"type": "x"}}}))
    for number, file in enumerate((IN, "two.jsonl", "three.jsonl")):
        arguments = ["submit", file, "-p", "faulty", "--name", f"{number}{NAME}", "--metadata", f"k={CONTROLS}"]
        inside(*arguments).succeeded()
    for job in "12":
        assert inside("wait", job).code in (0, 5)
    for stored in faulty.files.values():
        if stored.purpose == "batch_output":
            good = "output" in stored.id
            stored.data = hostile_row("a" if good else "b", good=good) + hostile_row(CONTROLS, good=good)
    return faulty


def harmless(text: str, where: object) -> None:
    """Assert that a text has no control characters and no forged line."""
    text = text.replace("\r\n", "\n")
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"}
    assert not bad, (where, bad, text)
    assert not re.search(r"^(hint|error|warning): forged", text, re.MULTILINE), (where, text)


def piped(*words: str) -> None:
    """Run a command with pipes; assert that its output is harmless, except for data on standard output."""
    result = inside(*words)
    harmless(result.err, words)
    assert "this is a bug" not in result.err, (words, result.err)
    if words[0] not in DATA:
        harmless(result.out, words)


def shown(*words: str) -> None:
    """Run a command in a terminal; assert that its output is harmless, apart from its own colors."""
    text = see(*words).out
    assert "\x1b[8m" not in text, (words, text)
    harmless(OWN.sub("", text).replace("\r", "\n"), words)


def test_every_command_has_a_case() -> None:
    """A new command must be added to CASES."""
    commands = [command for command in read_commands() if command.path]
    assert {c.name for c in commands if not c.commands or c.name == "providers"} == set(CASES)


def cases(each: int | None = None) -> Iterator[list[str]]:
    """Yield the first cases of each command, and two with wrong arguments."""
    for command, arguments in CASES.items():
        path = command.split()
        for words in ([f"--{NAME}"], *arguments[:each], ["x", NAME, NAME])[: each and each + 1]:
            yield [*path, *words]


def test_hostile_text_is_escaped_in_a_pipe(jobs: FaultServer) -> None:
    """In a pipe, hostile text from any source is escaped."""
    for words in cases():
        piped(*words)
    assert jobs.batches


def test_hostile_text_is_escaped_in_a_terminal(jobs: FaultServer) -> None:
    """In a terminal, hostile text is escaped, and the only escape codes are those of the command."""
    for words in cases(1):
        shown(*words)
    assert jobs.batches


def test_tracebacks_are_harmless(jobs: FaultServer) -> None:
    """With OBATCH_DEBUG, hostile text in a traceback is escaped."""
    assert jobs.batches
    for words in (["download", "2", "-o", "-"], ["check", BAD], ["status", NAME]):
        given = [os.fsencode(word) for word in (*COMMAND, *words)]
        env = environment({"OBATCH_DEBUG": "1"})
        done = subprocess.run(given, capture_output=True, env=env, timeout=PATIENCE, check=False)
        assert b"Traceback" in done.stderr
        harmless(done.stderr.decode(), words)


@pytest.mark.parametrize(
    "words",
    [
        *(["submit", "in.jsonl", "--metadata", "k=\udcff"], ["submit", "in.jsonl", "--window", "\udcff"]),
        *(["submit", "in.jsonl", "--name", "\udcff"], ["ls", "-p", "\udcff"], ["list", "-p", "\udcff"]),
        *(["prepare", "--sql", "select '\udcff'"], ["run", "in.jsonl", "-m", "\udcff"], ["status", "\udcff"]),
        ["providers", "add", "y", "--base-url", "https://x.invalid", "--models", "\udcff"],
    ],
)
def test_bytes_that_are_not_utf8_are_refused(words: list[str]) -> None:
    """An argument that is not valid UTF-8 is a usage error."""
    inside(*words).failed(2, "is not valid text", "UTF-8")
    with pytest.raises(UsageError, match="surrogate"):
        check_metadata({"k": "\udcff"})


def test_a_file_name_may_be_invalid_utf8(faulty: FaultServer) -> None:
    """A file name may contain any bytes, and is shown with escapes."""
    write("in\udcff.jsonl", [request("a")])
    result = inside("run", "in\udcff.jsonl", "-p", "faulty", "-o", "out\udcff.jsonl").succeeded()
    assert Path("out\udcff.jsonl").exists()
    assert r"out\udcff.jsonl" in result.err
    assert faulty.batches


def test_all_control_characters_are_escaped() -> None:
    """Control and invisible characters are escaped, in text and in JSON; other characters are not."""
    visible = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.category(char) == "Cn":
            continue
        bad = unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in visible
        assert (escape_controls(char) != char) == (bad and char not in "\n\t"), hex(code)
    assert escape_newlines("a\nb\x1b") == r"a\nb\x1b"
    assert json.loads(escape_json(json.dumps(CONTROLS + "\U000e0041", ensure_ascii=False))) == CONTROLS + "\U000e0041"
