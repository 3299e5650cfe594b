"""What the commands say about a job is correct and consistent: dry runs, statuses, counts and times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import COMMAND, environment, inside, request, write

from openai_batch.jobs.store.completion import candidates

if TYPE_CHECKING:
    from support.faults import FaultServer

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)


def run(model: str, *words: str, n: int = 3) -> list[str]:
    """Write prompts and return the command that runs them."""
    Path("a.txt").write_text("".join(f"prompt {i}\n" for i in range(n)), encoding="utf-8")
    return ["run", "a.txt", "-p", "faulty", "-m", model, "-o", "a.jsonl", *words]


def states(number: str = "1") -> set[tuple[str, int, int, int]]:
    """Return the status and the counts (total, completed, failed) of a job in every view."""
    (listed,) = [job for job in inside("ls", "--json").json if str(job["id"]) == number]
    shown = [listed, *(inside(command, number, "--json", *more).json for command, more in VIEWS)]
    status = listed["status"]
    assert dict(candidates("jobs", number))[number].split()[-1] == status
    (row,) = [row for row in inside("ls").rows if row[0] == number]
    counts = listed["requests"]
    assert (row[3], row[4], row[5]) == (status, str(counts["completed"] + counts["failed"]), str(counts["total"]))
    return {(job["status"], *(job["requests"][key] for key in ("total", "completed", "failed"))) for job in shown}


VIEWS: tuple[tuple[str, tuple[str, ...]], ...] = (("status", ()), ("status", ("--offline",)), ("wait", ()))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_dry_run_says_what_the_command_does(faulty: FaultServer, command: str, again: bool) -> None:
    """The dry run shows the batches and bytes that the same command then sends, with --again too."""
    model = "fault:upload=401"
    write("in.jsonl", [request("a", model)])
    words = run(model) if command == "run" else ["submit", "in.jsonl", "-p", "faulty"]
    more = ["--again", "--force"] if again and command == "run" else ["--again"] if again else []
    assert inside(*words).code == 4
    for batches in (1, int(again)):
        told = inside(*words, *more, "--dry-run", "--json").succeeded().json
        made, sent = len(faulty.batches), len(faulty.uploads)
        assert (told["batches"], told["job"] is None) == (batches, again)
        said = inside(*words, *more, "--dry-run").succeeded().err
        assert ("would upload" in said) == bool(batches)
        assert (len(faulty.batches), len(faulty.uploads)) == (made, sent)
        inside(*words, *more).succeeded()
        assert len(faulty.batches) == made + batches
        assert told["bytes"] == (len(list(faulty.batches.values())[-1].input.data) if batches else 0)


def test_a_dry_run_knows_the_uploaded_part(faulty: FaultServer) -> None:
    """The dry run does not count the upload of a part that was already uploaded."""
    words = run("fault:create=400:not today")
    assert inside(*words).code == 1
    told = inside(*words, "--dry-run", "--json").succeeded().json
    assert (told["batches"], told["requests"], told["bytes"], told["job"]["status"]) == (1, 3, 0, "not_sent")
    uploads = len(faulty.uploads)
    inside(*words).succeeded()
    assert len(faulty.uploads) == uploads


def test_a_dry_run_reports_a_missing_key(faulty: FaultServer) -> None:
    """The dry run says that the key is not set."""
    assert "TEST_KEY is not set" in inside(*run("echo-1"), "--dry-run", env={"TEST_KEY": None}).succeeded().err
    assert not faulty.requests


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [("upload=401", 4, "said 401"), ("upload=404", 6, "said 404"), ("create=400:not today", 1, "not today")],
)
def test_a_job_that_was_not_sent_is_not_uploading(faulty: FaultServer, fault: str, code: int, reason: str) -> None:
    """A job that could not be sent is `not_sent` with the reason, and only the same command sends it."""
    words = run(f"fault:{fault}")
    assert inside(*words).code == code
    shown = inside("status").succeeded().fields
    assert shown["status"] == "not_sent"
    assert reason in shown["reason"]
    assert reason in inside("ls", "--json").json[0]["reason"]
    asked = len(faulty.requests)
    for command in ("wait", "download", "results", "retry"):
        inside(command, "1").failed(1, "job 1 was not sent: could not", "run the command that started it again")
        assert reason in inside(command, "1").err
    assert len(faulty.requests) == asked
    assert states() == {("not_sent", 3, 0, 0)}
    inside(*words).succeeded()
    assert states() == {("completed", 3, 3, 0)}


@pytest.mark.slow
def test_a_job_is_uploading_while_a_process_sends_it(faulty: FaultServer) -> None:
    """During an upload the job is `uploading`; after the process is killed it is `not_sent`."""
    first = subprocess.Popen([*COMMAND, *run("fault:upload=hold")], env=environment(), stderr=subprocess.DEVNULL)
    while not faulty.uploads:
        assert first.poll() is None
        time.sleep(0.02)
    assert inside("ls").rows[0][3] == "uploading"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert inside("status").fields["reason"] == "the last try was interrupted"
    assert inside("ls").rows[0][3] == "not_sent"
    faulty.settle()


def test_cancelling_a_job_that_was_never_sent(faulty: FaultServer) -> None:
    """`cancel` withdraws the job without a request, and says that nothing had been sent."""
    assert inside(*run("fault:upload=401")).code == 4
    assert inside("cancel", "1", "--dry-run").succeeded().rows == [["1", "withdraw", "nothing had been sent"]]
    assert states() == {("not_sent", 3, 0, 0)}
    asked = len(faulty.requests)
    assert "job 1 is withdrawn; nothing had been sent" in inside("cancel", "1").succeeded().err
    assert len(faulty.requests) == asked
    assert states() == {("withdrawn", 3, 0, 3)}
    assert inside("cancel", "1", "--dry-run").succeeded().rows[0][1] == "nothing"
    inside("wait", "1").failed(5, "job 1 withdrawn", "there is nothing to download")


@pytest.mark.parametrize("plan", ["fault:rows=absent;end=expired", "fault:end=failed", "fault:rows=mixed", "echo-1"])
def test_counts_agree_before_and_after_the_download(faulty: FaultServer, plan: str) -> None:
    """The status and counts of an ended job are the same in every view, before and after its results are downloaded."""
    write("in.jsonl", [request(f"r{n}", plan) for n in range(4)])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("wait", "1")
    before = states()
    assert len(before) == 1
    inside("download", "1", "-o", "out.jsonl")
    assert states() == before
    assert faulty.batches


def test_counts_agree_after_a_retry(faulty: FaultServer) -> None:
    """After a retry, the counts are the same in every view, before and after the download."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=absent;end=expired") for n in range(4)])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("wait", "1")
    inside("retry", "1").succeeded()
    inside("wait", "1")
    before = states()
    assert before == {("expired", 4, 3, 1)}
    download = inside("download", "1", "-o", "out.jsonl")
    assert "3 of 4 answered" in download.err
    assert states() == before
    assert len(faulty.batches) == 2


def test_a_cut_answer_that_is_sent_again_is_counted_once(faulty: FaultServer) -> None:
    """A cut answer that is sent again no longer counts as completed, until the new answer arrives."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=mixed,cut") for n in range(6)])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    inside("retry", "1", "--where", "cut").succeeded()
    counts = inside("status", "1", "--offline", "--json").json["requests"]
    assert counts == {"total": 6, "completed": 2, "failed": 3}
    assert "3 of 6 requests answered" in inside("wait", "1").err
    before = states()
    assert before == {("completed", 6, 3, 3)}
    inside("download", "1", "-o", "out.jsonl")
    assert states() == before
    assert len(faulty.batches) == 2


def test_a_strict_wait_is_as_strict_as_a_download(faulty: FaultServer) -> None:
    """`wait --strict` and `download --strict` exit with code 5 for refused and cut answers."""
    for number, (plan, code) in enumerate([("rows=declined,cut", 5), ("", 0), ("rows=absent", 5)], 1):
        write("in.jsonl", [request(f"r{n}", f"fault:{plan}") for n in range(3)])
        inside("submit", "in.jsonl", "-p", "faulty").succeeded()
        assert inside("wait", str(number), "--strict").code == code
        assert inside("status", str(number), "--json").json["answered"] is None
        assert inside("download", str(number), "--strict").code == code
    assert inside("wait", "1").code == 0
    inside("wait", "1", "--strict").failed(5, "1 succeeded, 1 cut, 1 refused", "obatch retry 1 --where refused,cut")
    assert faulty.batches


def test_the_input_of_a_job_is_the_file_that_was_named(faulty: FaultServer) -> None:
    """The input of a job made from tables is the names of the tables."""
    Path("a.csv").write_text("text\nhi\n", encoding="utf-8")
    Path("b.csv").write_text("text\nho\n", encoding="utf-8")
    a, b = (str(Path(name).absolute()) for name in ("a.csv", "b.csv"))
    inside("run", "a.csv", "-p", "faulty", "-m", "m", "-o", "a.jsonl").succeeded()
    inside("run", "a.csv", "b.csv", "-p", "faulty", "-m", "m", "-o", "ab.jsonl").succeeded()
    assert [job["input"] for job in inside("ls", "--json").json] == [f"{a}, {b}", a]
    assert inside("status", "1").fields["input"] == a
    assert faulty.batches


def test_a_refusal_does_not_count_as_success(faulty: FaultServer) -> None:
    """Completed requests are called answered, not succeeded, since they may be refusals."""
    write("in.jsonl", [request(f"r{n}", "fault:rows=declined,cut,absent") for n in range(6)])
    ran = inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    assert "job 1: completed, 3 of 6 requests answered" in ran.err
    assert "3 of 6 answered: 1 succeeded, 1 cut, 1 refused, 3 missing" in ran.err
    told = [inside(command, "1") for command in ("status", "wait")]
    assert [each.fields["requests"] for each in told] == ["3/6 answered"] * 2
    assert "3 of 6 requests answered" in told[1].err
    assert faulty.batches


@pytest.mark.parametrize("value", [1764086400000, 10**18, 2**63 - 1, 1e300, -5, "soon", {"a": 1}, True])
def test_odd_times_of_a_server_are_tolerated(faulty: FaultServer, value: Any) -> None:
    """Times in milliseconds are understood, and invalid ones are ignored."""
    faulty.also = {"expires_at": value, "created_at": value, "in_progress_at": value}
    write("in.jsonl", [request("a", RUNS_ON)])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert inside("ls").succeeded().rows
    record = inside("status", "--json").succeeded().json
    expected = "2025-11-25T16:00:00+00:00" if value in (1764086400000, 10**18) else None
    assert record["expires_at"] == (expected if value != 10**18 else "2001-09-09T01:46:40+00:00")
    assert inside("wait", "--timeout", "0").code == 124


def test_the_latest_job_is_the_one_used_last(faulty: FaultServer) -> None:
    """Without a job, a command takes the one used last, and names it; a dry run does not count as use."""
    for name in ("one", "two"):
        write(f"{name}.jsonl", [request(name)])
        inside("submit", f"{name}.jsonl", "-p", "faulty", "--name", name).succeeded()
    assert "job 2 (two), the one used last" in inside("wait").succeeded().err
    inside("status", "one").succeeded()
    assert "job 1 (one), the one used last" in inside("wait").succeeded().err
    inside("cancel", "2", "--dry-run").succeeded()
    inside("download").succeeded()
    assert Path("job-1.results.jsonl").exists()
    inside("submit", "two.jsonl", "-p", "faulty").succeeded()
    assert inside("status", "--json").json["id"] == 2
    assert inside("wait", "-q").succeeded().err == ""
    assert json.loads(Path("job-1.results.jsonl").read_text(encoding="utf-8"))["custom_id"] == "one"
    assert len(faulty.batches) == 2


def test_the_output_path_is_shown(faulty: FaultServer) -> None:
    """`status` shows the output path before and after the results are written."""
    write("in.jsonl", [request("a", "fault:poll=500*99")])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.csv", "--timeout", "0.1s")
    told = inside("status", "--offline").succeeded().fields
    assert told["planned output"] == str(Path("out.csv").absolute())
    assert "output" not in told
    faulty.batches["batch_2"].input.plan.faults.clear()
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.csv").succeeded()
    told = inside("status", "--offline").succeeded().fields
    assert told["output"] == str(Path("out.csv").absolute())
    assert "planned output" not in told
