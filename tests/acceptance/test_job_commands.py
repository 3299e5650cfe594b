"""`obatch ls`, `status`, `wait`, `download` and `cancel`: jobs by number, name, batch id, or the latest one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openai import OpenAI
from support.command import environment, ids, inside, invoke, plain, request, see, write

from openai_batch import Jobs
from openai_batch.errors import NotFoundError, UnknownProviderError

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)


def submit(name: str, model: str = "echo-1", *words: str) -> str:
    """Submit one request under a name, and return the batch's id."""
    write(f"{name}.jsonl", [request(name, model)])
    result = invoke("submit", f"{name}.jsonl", "-p", "faulty", "--name", name, "--json", *words).succeeded()
    (batch_id,) = result.json["batch_ids"]
    return str(batch_id)


@pytest.mark.slow
def test_a_job_is_found_by_number_name_batch_id_and_as_the_latest(faulty: FaultServer) -> None:
    """Every command takes a job by its number, its name or its batch id; without any it takes the one used last."""
    first, second = submit("one"), submit("two")
    assert list(faulty.batches) == [first, second]
    for reference in ("1", "one", first):
        assert invoke("status", reference, "--json", "--offline").succeeded().json["id"] == 1
    assert invoke("status", "--json").succeeded().json["batch_ids"] == [first]
    assert invoke("status", "two", "--json").succeeded().json["batch_ids"] == [second]
    assert invoke("wait", "one", "-q").succeeded().out == "1\n"
    invoke("download", first, "-o", "one.out").succeeded()
    assert ids("one.out") == ["one"]
    invoke("download", "two").succeeded()
    assert ids("job-2.results.jsonl") == ["two"]
    assert [row[0] for row in invoke("ls").succeeded().rows] == ["2", "1"]


@pytest.mark.slow
def test_a_missing_job_or_file_exits_with_6(faulty: FaultServer) -> None:
    """An unknown job, batch or provider exits with code 6."""
    for command in ("status", "wait", "download", "cancel"):
        invoke(command).failed(6, "there are no jobs yet", "`obatch run FILE` starts one")
    submit("one")
    invoke("status", "7").failed(6, "no job '7'", "obatch ls")
    invoke("wait", "nobody").failed(6, "no job 'nobody'", "obatch ls")
    invoke("download", "batch_nowhere", "-p", "faulty").failed(6, "batch_nowhere")
    invoke("status", "batch_nowhere", "-p", "nobody").failed(6, "nobody", "known providers: ")
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_submit_says_what_to_do_next(faulty: FaultServer) -> None:
    """`submit` suggests `obatch wait` while the job runs, and `obatch download` after it has ended."""
    write("in.jsonl", [request("a")])
    assert invoke("submit", "in.jsonl", "-p", "faulty").succeeded().err.endswith("hint: obatch wait 1\n")
    assert invoke("wait").succeeded().err.endswith("hint: obatch download 1 -o results.jsonl\n")
    again = invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert "resuming job 1 (--again would start a new one)" in again.err
    assert again.err.endswith("hint: obatch download 1\n")
    assert len(faulty.creates) == 1


@pytest.mark.slow
def test_submit_quiet_prints_only_the_number(faulty: FaultServer) -> None:
    """`submit -q` prints only the job number."""
    write("in.jsonl", [request("a")])
    result = invoke("submit", "in.jsonl", "-p", "faulty", "-q").succeeded()
    assert (result.out, result.err) == ("1\n", "")
    assert faulty.batches


@pytest.mark.slow
def test_a_second_job_with_the_same_name_is_refused(faulty: FaultServer) -> None:
    """A second job of the same name is refused before anything is sent."""
    submit("one")
    write("other.jsonl", [request("b")])
    invoke("submit", "other.jsonl", "-p", "faulty", "--name", "one").failed(
        1, "already a job named 'one'", "choose another --name"
    )
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_metadata_is_sent_with_the_batch(faulty: FaultServer) -> None:
    """--metadata is sent to the provider, and must have the form KEY=VALUE."""
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty", "--metadata", "team=blue").succeeded()
    (batch,) = faulty.batches.values()
    assert batch.metadata["team"] == "blue"
    invoke("submit", "in.jsonl", "-p", "faulty", "--metadata", "team").failed(2, "'team' is not KEY=VALUE")


@pytest.mark.slow
def test_ls_filters(faulty: FaultServer) -> None:
    """--status, -p and --last select jobs, with -q and --json too."""
    submit("one")
    submit("two", RUNS_ON)
    invoke("wait", "one").succeeded()
    invoke("status", "two").succeeded()
    assert invoke("ls", "-q", "--status", "in_progress").succeeded().out == "2\n"
    assert invoke("ls", "-q", "--status", "COMPLETED,failed").succeeded().out == "1\n"
    assert invoke("ls", "-q", "--last", "1").succeeded().out == "2\n"
    assert invoke("ls", "-q", "-p", "openai").succeeded().out == ""
    assert [job["name"] for job in invoke("list", "--json").succeeded().json] == ["two", "one"]
    assert "no such jobs" in see("ls", "-p", "openai").succeeded().out
    assert faulty.batches


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xargs") is None, reason="there is no xargs")
def test_commands_compose_in_a_shell(faulty: FaultServer) -> None:
    """The output of `ls -q` can be passed to `wait`."""
    for name in ("one", "two"):
        submit(name)
    program = f'"{sys.executable}" -m openai_batch'
    line = f"{program} ls -q --status validating | xargs {program} wait -q"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment(), check=True)
    assert (sorted(done.stdout.split()), done.stderr) == (["1", "2"], "")
    assert [job["status"] for job in invoke("ls", "--json").json] == ["completed", "completed"]
    assert len(faulty.batches) == 2


@pytest.mark.slow
def test_wait_for_several_jobs_exits_with_the_worst_code(faulty: FaultServer) -> None:
    """`wait` on several jobs prints each one, and exits with code 5 if one of them failed."""
    submit("one")
    submit("two", "fault:end=failed")
    result = invoke("wait", "1", "two")
    assert result.code == 5
    assert [row[0] for row in result.rows] == ["1", "2"]
    assert [job["status"] for job in invoke("wait", "1", "2", "--json").json] == ["completed", "failed"]
    assert faulty.batches


@pytest.mark.slow
def test_wait_ends_at_its_timeout(faulty: FaultServer) -> None:
    """After the timeout, `wait` exits with code 124 and prints the status, and the job continues."""
    submit("one", RUNS_ON)
    result = invoke("wait", "--timeout", "0.2s").failed(124, "job 1 is still in_progress", "obatch wait 1")
    assert result.fields["status"] == "in_progress"
    run = invoke("run", "one.jsonl", "-p", "faulty", "--timeout", "0")
    run.failed(124, "still", "obatch wait 1")
    invoke("wait", "--timeout", "soon").failed(2, "'soon' is not a time span", "90s, 30m")
    assert len(faulty.batches) == 1
    assert not faulty.seen("POST", "/batches/.*/cancel")


@pytest.mark.slow
def test_the_exit_codes_of_status(faulty: FaultServer) -> None:
    """`status` exits with code 0, with --exit-code also with 5; --offline sends no request."""
    submit("one", "fault:rows=mixed,inline")
    before = len(faulty.requests)
    assert invoke("status", "--offline").succeeded().fields["status"] == "validating"
    assert len(faulty.requests) == before
    assert invoke("status", "-q").succeeded().out == "completed\n"
    submit("two", "fault:end=failed")
    failed = invoke("status").succeeded()
    assert failed.fields["error"].endswith("(invalid_json_line)")
    invoke("status", "--exit-code").failed(5, "failed", "obatch")  # with one hint
    assert invoke("status", "1", "--exit-code").code == 0


@pytest.mark.slow
def test_cancel_asks_unless_one_job_is_named(faulty: FaultServer) -> None:
    """`cancel` needs confirmation or --yes, except for one named job."""
    submit("one", RUNS_ON)
    submit("two", RUNS_ON)
    invoke("cancel").failed(2, "needs confirmation", "--yes")
    invoke("cancel", "1", "2").failed(2, "needs confirmation", "--yes")
    assert [row[:2] for row in invoke("cancel", "1", "2", "-n").succeeded().rows] == [["1", "cancel"], ["2", "cancel"]]
    assert not faulty.seen("POST", "/batches/.*/cancel")
    assert invoke("cancel", "1").succeeded().rows[0][3] in ("cancelling", "cancelled")
    assert [row[0] for row in invoke("cancel", "1", "2", "-y").succeeded().rows] == ["1", "2"]
    assert len(faulty.seen("POST", "/batches/.*/cancel")) == 2


@pytest.mark.slow
def test_cancelling_an_ended_job(faulty: FaultServer) -> None:
    """`cancel` on a job that has ended says so, sends nothing, and exits with code 0."""
    submit("one")
    invoke("wait").succeeded()
    assert "job 1 has ended already: completed" in invoke("cancel", "1").succeeded().err
    assert not faulty.seen("POST", "/batches/.*/cancel")


@pytest.mark.slow
def test_cancelled_jobs_can_be_downloaded(faulty: FaultServer) -> None:
    """The results of a cancelled batch can be downloaded, with exit code 5 if some are missing."""
    write("in.jsonl", [request(f"r{n}", RUNS_ON + ";rows=absent;late=-99") for n in range(4)])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert invoke("cancel", "1").succeeded().err.endswith(("hint: obatch wait 1\n", "hint: obatch download 1\n"))
    assert invoke("wait", "1").code == 5
    invoke("download", "-o", "out.jsonl", "--missing", "rest.jsonl").failed(5, "job 1 cancelled: 2 of 4", "out.jsonl")
    assert ids("out.jsonl") == ["r0", "r1"]
    assert ids("rest.jsonl") == ["r2", "r3"]
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_download_does_not_wait(faulty: FaultServer) -> None:
    """`download` of a running job exits with code 1 and suggests `obatch wait`."""
    submit("one", RUNS_ON)
    invoke("download").failed(1, "job 1 is still", "obatch wait 1")
    assert not list(Path().glob("*.results.jsonl"))
    assert faulty.batches


@pytest.mark.slow
def test_download_again(faulty: FaultServer) -> None:
    """A second download uses the existing file; a file with other content is replaced only with --force."""
    submit("one")
    invoke("wait").succeeded()
    invoke("download", "-o", "out.jsonl").succeeded()
    fetched = len(faulty.seen("GET", "/files/.*/content"))
    assert "out.jsonl" in invoke("download").succeeded().err
    assert len(faulty.seen("GET", "/files/.*/content")) == fetched
    Path("mine").write_text("mine", encoding="utf-8")
    invoke("download", "-o", "mine").failed(1, "mine already exists", "--force")
    assert Path("mine").read_text(encoding="utf-8") == "mine"
    invoke("download", "-o", "mine", "--force").succeeded()
    assert ids("mine") == ["one"]


@pytest.mark.slow
def test_download_to_standard_output_and_raw(faulty: FaultServer) -> None:
    """`-o -` writes only results to standard output; --raw writes the provider's files unchanged."""
    submit("one")
    invoke("wait").succeeded()
    assert json.loads(invoke("download", "-o", "-", "-q").succeeded().out)["custom_id"] == "one"
    (name,) = invoke("download", "--raw", "files").succeeded().out.splitlines()
    (output,) = [file for file in faulty.files.values() if file.purpose == "batch_output"]
    assert Path(name).read_bytes() == output.data
    invoke("download", "--raw", "files").failed(1, "already exists", "--force")


@pytest.mark.slow
def test_a_batch_of_the_openai_client_is_added(real: LocalServer) -> None:
    """A batch that the openai client created is added by its id, and its results are in input order."""
    client = OpenAI(base_url=real.base_url, api_key=real.token)
    path = write("in.jsonl", [request("slow", text="!sleep=0.5 a"), request("fast", text="b")])
    file = client.files.create(file=path, purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    taken = invoke("wait", batch.id, "-p", "real")
    assert f"batch {batch.id} is now job 1" in taken.succeeded().err
    invoke("download", batch.id, "-o", "out.jsonl").succeeded()
    assert ids("out.jsonl") == ["slow", "fast"]
    assert [row[-1] for row in invoke("ls").succeeded().rows] == [batch.id]
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "wait", "download", "cancel"])
def test_a_batch_is_looked_for_at_every_provider_with_a_key(real: LocalServer, command: str) -> None:
    """Without -p, a batch id is looked up at every provider that has a key; if none has it, the exit code is 6."""
    assert real.token
    invoke(command, "batch_nobody_has").failed(6, "no batch batch_nobody_has (asked: real", "-p")


@pytest.mark.slow
def test_a_terminal_gets_tables(faulty: FaultServer) -> None:
    """In a terminal, `ls` prints headings and one line per job, and `status` prints the batch id."""
    batch_id = submit("one")
    lines = [line for line in plain(see("ls", columns=80).succeeded().out).splitlines() if line.strip()]
    assert lines[0].split()[:4] == ["job", "name", "model", "done"]
    assert len(lines) == 2
    assert f"batch     {batch_id}" in plain(see("status").succeeded().out)
    assert faulty.batches


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status --offline",
        "wait",
        "download",
        "download --dry-run",
        "results",
        "report",
        "retry",
        "cancel",
        "cancel --dry-run",
    ],
)
def test_a_job_at_another_provider(faulty: FaultServer, words: str) -> None:
    """If -p is unknown, or not the provider of the job, the command fails without a request."""
    batch_id = submit("one")
    invoke("wait").succeeded()
    asked = len(faulty.requests)
    command, *options = words.split()
    inside(command, "1", "-p", "fualty", *options).failed(6, "fualty", "did you mean faulty?")
    for reference in (["1"], ["one"], []):
        inside(command, *reference, "-p", "groq", *options).failed(6, "job 1 is at faulty, not at groq", "leave out")
    assert len(faulty.requests) == asked
    assert list(faulty.batches) == [batch_id]


def test_offline_and_dry_runs_look_up_no_batch(faulty: FaultServer) -> None:
    """--offline and --dry-run do not look up an unknown batch at a provider, and add no job."""
    for words in ("status batch_x --offline", "download batch_x --dry-run", "cancel batch_x --dry-run"):
        inside(*words.split(), "-p", "faulty").failed(6, "no job 'batch_x'")
    inside("rm", "batch_x").failed(6, "no job 'batch_x'")
    assert not faulty.requests
    assert invoke("ls").succeeded().out == ""


@pytest.mark.slow
def test_a_list_of_an_unknown_provider(faulty: FaultServer) -> None:
    """`ls -p` accepts providers of the configuration and of listed jobs; any other name is an error."""
    submit("one")
    inside("ls", "-p", "fualty").failed(6, "fualty", "did you mean faulty?")
    assert inside("ls", "-p", "groq").succeeded().out == ""
    Path(os.environ["OBATCH_CONFIG"]).write_text("", encoding="utf-8")
    assert inside("ls", "-p", "faulty", "-q").succeeded().out == "1\n"
    assert faulty.batches
    with Jobs() as jobs:
        assert len(jobs.list(provider="faulty")) == 1
        with pytest.raises(UnknownProviderError, match="fualty"):
            jobs.list(provider="fualty")
        with pytest.raises(NotFoundError, match="job 1 is at faulty, not at groq"):
            jobs.get(1, provider="groq")
