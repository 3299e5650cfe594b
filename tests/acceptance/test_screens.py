"""What people see: the important screens at 60, 80 and 120 columns, as text files in `screens/`.

OBATCH_TEST_WRITE_SCREENS=1 writes the files again; look at them before you commit them.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import Terminal, inside, plain, request, see, write

from openai_batch.files import paths

if TYPE_CHECKING:
    from support.faults import FaultServer

SCREENS = Path(__file__).with_name("screens")
WIDTHS = (60, 80, 120)
NO_COLOUR = {"NO_COLOR": "1"}  # without the live display
RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
LONG = "meta-llama/Meta-Llama-3-8B-Instruct"


def compare(name: str, columns: int, shown: str) -> None:
    """Compare a screen with its file. Clock times differ, and so do seconds and the numbers of batches."""
    text = "\n".join(line.rstrip() for line in plain(shown).replace("\r", "").splitlines()).strip("\n") + "\n"
    text = re.sub(r"\d\d [A-Z][a-z]{2} \d\d:\d\d:\d\d", "26 Nov 12:00:00", text)
    text = re.sub(r"batch_\d+", "batch_1", text)
    file = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("OBATCH_TEST_WRITE_SCREENS"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
    if name != "run-help" or columns >= 80:
        assert max(map(len, text.splitlines())) <= columns


def started(name: str, model: str, *words: str) -> None:
    """Run a job of 20 requests to its end, or submit one that keeps running."""
    write(f"{name}.jsonl", [request(f"r{n}", model) for n in range(20)])
    if model.startswith(RUNS_ON):
        inside("submit", f"{name}.jsonl", *words)
    else:
        inside("run", f"{name}.jsonl", *words)


@pytest.fixture
def jobs(faulty: FaultServer) -> None:
    """Make four jobs that began two hours ago: successful, with missing answers, running, and in several parts."""
    configure("small", faulty.base_url, max_requests=10)
    started("reviews", "gpt-4o-mini", "-p", "faulty")
    started("tickets", "fault:rows=absent", "-p", "faulty", "--name", "nightly")
    started("orders", RUNS_ON, "-p", "faulty")
    started("cities", LONG, "-p", "small")
    began = time.time() - 7230
    with sqlite3.connect(paths.registry_file()) as db:
        db.execute("UPDATE jobs SET created_at = ?, model = COALESCE(NULLIF(model, ?), 'gpt-4o')", (began, RUNS_ON))
        db.execute(
            "UPDATE jobs SET input_path = '/data/' || replace(input_path, rtrim(input_path, "
            "replace(input_path, '/', '')), ''), output_path = replace(output_path, rtrim(output_path, "
            "replace(output_path, '/', '')), '/data/')"
        )
        db.execute("UPDATE parts SET created_at = ?, expires_at = ?", (began, began + 86430))
        db.execute("UPDATE parts SET ended_at = ? WHERE ended_at IS NOT NULL", (began + 660,))
        phases = {"in_progress": began + 30, "finalizing": began + 600}
        db.execute("UPDATE parts SET phases = ? WHERE job = 4", (json.dumps(phases),))
        db.execute("UPDATE parts SET phases = json_remove(?, '$.finalizing') WHERE job = 3", (json.dumps(phases),))
    db.close()


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_help_of_run(columns: int) -> None:
    """The help of `run` in a terminal."""
    compare("run-help", columns, see("run", "-h", columns=columns).succeeded().out)


@pytest.mark.slow
@pytest.mark.usefixtures("jobs")
def test_lists_and_states() -> None:
    """`ls` has one line per job at every width; `status` has times, parts and the next command."""
    for columns in WIDTHS:
        listed = see("ls", columns=columns).succeeded().out
        assert len(plain(listed).splitlines()) == 5
        assert re.search(r"\x1b\[[0-9;]*31m10\b", listed), "what is missing is red"
        compare("ls", columns, listed)
        compare("status-parts", columns, see("status", "4", env=NO_COLOUR, columns=columns).succeeded().out)
        compare("status-running", columns, see("status", "3", "--offline", columns=columns).succeeded().out)


def _without_time(message: re.Match[str], columns: int) -> str:
    """Return a message as it would be wrapped without the time: a slow machine took a second."""
    text = re.sub(r"; took \d+ s", "", " ".join(message[0].split()))
    return textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)


@pytest.mark.slow
def test_the_end_of_a_run(faulty: FaultServer) -> None:
    """The end of a run says what was answered, what failed and why, and the next command."""
    assert faulty.base_url
    for columns in WIDTHS:
        write("good.jsonl", [request(f"r{n}", "gpt-4o-mini") for n in range(20)])
        write("bad.jsonl", [request(f"r{n}", "fault:rows=absent") for n in range(20)])
        for name in ("good", "bad"):
            words = ("run", f"{name}.jsonl", "-p", "faulty", "-o", f"{name}.csv", "--force")
            shown = see(*words, env=NO_COLOUR, columns=columns)
            text = re.sub(
                r"(?s)(?:error: )?job \d+ completed: .*?(?=\r\nhint)",
                partial(_without_time, columns=columns),
                shown.out,
            )
            text = re.sub(r"; took \d+ s", "", text)
            compare(f"run-{name}", columns, re.sub(r"job \d+", "job 1", re.sub(r"batch_\d+", "batch_1", text)))


@pytest.mark.slow
def test_a_terminal_shows_twenty_jobs_and_a_pipe_all(faulty: FaultServer) -> None:
    """`ls` shows 20 jobs in a terminal, unless options say otherwise, and all in a pipe."""
    assert faulty.base_url
    for number in range(22):
        write("in.jsonl", [request("a", f"model-{number}")])
        inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    shown = plain(see("ls", columns=80).succeeded().out)
    assert "20 of 22 jobs; --all shows all" in shown
    assert len(shown.splitlines()) == 22
    everything = plain(see("ls", "--all", columns=80).succeeded().out)
    assert len(everything.splitlines()) == 23
    assert "--all" not in everything
    assert len(plain(see("ls", "--last", "3", columns=80).out).splitlines()) == 5
    assert len(inside("ls").rows) == len(inside("ls", "-q").rows) == len(inside("ls", "--json").json) == 22
    assert inside("ls", "--last", "2", "-q").out == "22\n21\n"
    assert inside("ls", "-m", "model-3", "-q").out == "4\n"
    assert len(inside("ls", "--since", "1h").rows) == 22
    time.sleep(1.1)
    assert inside("ls", "--since", "1s", "-q").out == ""
    inside("ls", "--watch").failed(2, "--watch needs a terminal", "obatch wait")


@pytest.mark.slow
def test_watching_the_list(faulty: FaultServer) -> None:
    """`ls --watch` updates the list, and ends when every listed job has ended."""
    write("in.jsonl", [request("a", "fault:steps=in_progress")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    shown = see("ls", "--watch", columns=80).succeeded().out
    assert shown.count("\x1b[2J") > 1
    assert "completed" in shown.rpartition("\x1b[2J")[2]
    assert len(faulty.creates) == 1


@pytest.mark.slow
def test_watching_the_list_skips_a_provider_that_hangs(faulty: FaultServer) -> None:
    """`ls --watch` keeps updating the list while a provider does not answer."""
    for name, plan in (("one", RUNS_ON), ("two", "fault:poll=drip*99")):
        write(f"{name}.jsonl", [request("a", plan)])
        inside("submit", f"{name}.jsonl", "-p", "faulty").succeeded()
    hurry = "from openai_batch.cli.commands import ls; ls.LOOK_SECONDS = 0.5; ls.PAUSE = 0.1"
    terminal = Terminal("ls", "--watch", columns=80, first=hurry)
    begun = time.monotonic()
    for _ in range(3):
        terminal.child.expect_exact("\x1b[2J")
    assert time.monotonic() - begun < 20
    assert faulty.seen("GET", "/batches/batch_2")
    terminal.child.close(force=True)


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_waiting_for_several_jobs(faulty: FaultServer, columns: int) -> None:
    """`wait` on several jobs shows one progress bar with a time for each of them."""
    assert faulty.base_url
    for name, steps in (("one", 2), ("two", 4)):
        write(f"{name}.jsonl", [request("a", f"fault:steps={','.join(['in_progress'] * steps)}")])
        inside("submit", f"{name}.jsonl", "-p", "faulty").succeeded()
    shown = plain(see("wait", "1", "2", columns=columns).succeeded().out)
    assert "starting …" in shown
    assert "0 of 2 jobs ended" in shown
    assert "1 of 2 jobs ended" in shown
    for number in (1, 2):
        assert re.search(rf"job {number} in progress ╌+ 0/1, \d+ s", shown), shown
    assert "time left" not in shown
    assert re.findall(r"\d\t.*", shown) == [f"{number}\tcompleted, 1 of 1 request answered" for number in (1, 2)]


SLOW = """
import os, sys
slow = ("openai", "tiktoken", "genai_prices")
def note(event, args):
    if event == "socket.connect" or (event == "import" and args[0] in slow):
        os.write(2, b"<slow>")
sys.addaudithook(note)
"""
"""A program that writes a mark when a command starts a slow import or opens a connection."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        *("run new.jsonl -p faulty -o out.jsonl", "submit new.jsonl -p faulty", "status 1", "wait 1", "download 2"),
        *("results 2", "report 2", "retry 2", "cancel 1", "recover -p faulty", "doctor faulty", "ls --watch"),
        *("sample in.jsonl -p faulty", "providers test faulty", "cost p.txt -m gpt-4o-mini -p openai"),
        *("check in.jsonl", "prepare p.txt -m gpt-4o-mini -o made.jsonl", "stats in.jsonl"),
    ],
)
def test_something_is_shown_at_once(faulty: FaultServer, words: str) -> None:
    """A terminal shows progress before slow imports and before the first connection."""
    write("p.txt", ["hi"])
    write("new.jsonl", [request("n")])
    for plan in (RUNS_ON.replace("," + ",".join(["in_progress"] * 37), ""), "fault:end=completed"):
        inside("submit", str(write("in.jsonl", [request("a", plan)])), "-p", "faulty").succeeded()
    inside("wait", "2").succeeded()
    shown = plain(Terminal(*words.split(), first=SLOW).finish().out)
    assert shown.partition("<slow>")[0].strip()
    assert "…" in shown or words.startswith("ls")
    assert faulty.batches


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 40, 200])
def test_no_screen_is_wider_than_its_window(faulty: FaultServer, columns: int) -> None:
    """No line of `wait` or `ls` is wider than the window."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress")])
    inside("submit", "in.jsonl", "-p", "faulty", "--name", "nightly-reviews").succeeded()
    waited, listed = see("wait", "1", columns=columns).succeeded().out, see("ls", columns=columns).succeeded().out
    assert "job 1 in progress" in plain(waited)
    for line in re.split(r"[\r\n]+", plain(waited + listed)):
        assert len(line) <= columns or "\t" in line or line.startswith("hint: obatch"), line
    assert len(plain(listed).splitlines()) == 2
    assert faulty.batches


@pytest.mark.slow
def test_the_usual_time_is_from_earlier_jobs(faulty: FaultServer) -> None:
    """After three jobs with the same model, `wait` shows how long such jobs usually take."""
    assert faulty.base_url
    model = "fault:steps=in_progress,in_progress"
    for number in range(4):
        write("in.jsonl", [request(f"a{number}", model)])
        inside("submit", "in.jsonl", "-p", "faulty").succeeded()
        shown = plain(see("wait", columns=80).succeeded().out)
        assert ("usually" in shown) == (number == 3)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_command_to_copy_is_not_broken(columns: int) -> None:
    """Messages are wrapped between words, but not within a command."""
    write("in.jsonl", [request("a", "gpt-4o-mini")])
    shown = plain(see("submit", "in.jsonl", "-p", "azure", columns=columns).out)
    lines = [line for line in shown.splitlines() if "`" in line]
    assert lines
    assert all(line.count("`") == 2 for line in lines), shown
