"""`obatch run`: from prompts or requests to a file of answers, paid once."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import ids, invoke, plain, request, see, write
from support.servers import echo_upstream, wait_until

from openai_batch.jobs.store.registry import Registry
from openai_batch.testing import fake_provider

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

MIXED = "fault:rows=mixed"
ABSENT = "fault:rows=absent"


def test_prompts_become_answers_in_input_order(real: LocalServer) -> None:
    """The results of a prompt file have one line per prompt, in input order."""
    assert real.token
    Path("prompts.txt").write_text("!sleep=0.3 first\n\nsecond\nthird\n", encoding="utf-8")
    result = invoke("run", "prompts.txt", "-p", "real", "-m", "echo-1").succeeded()
    lines = [json.loads(line) for line in Path("prompts.results.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["custom_id"] for line in lines] == ["line-1", "line-3", "line-4"]
    texts = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert texts == ["echo: !sleep=0.3 first", "echo: second", "echo: third"]
    assert result.out == ""
    assert "3 of 3 succeeded" in result.err


@pytest.mark.slow
def test_the_local_provider_starts_its_server_on_demand() -> None:
    """`-p local` starts the server if none is running, and `serve --stop` ends it."""
    with echo_upstream() as echo:
        Path("../home/config.toml").write_text(f'[providers.local]\nupstream = "{echo.base_url}"\n', encoding="utf-8")
        try:
            result = invoke("run", "-", "-p", "local", "-m", "echo-1", stdin="hello\n").succeeded()
            assert json.loads(result.out)["response"]["status_code"] == 200
            assert "echo: hello" in result.out
        finally:
            assert invoke("serve", "--stop").succeeded().err == "stopped\n"
        assert invoke("serve", "--stop").succeeded().err == "no server is running\n"


@pytest.mark.slow
def test_an_upstream_with_a_wrong_port() -> None:
    """`run` says once why the job waits, can be interrupted, and goes on with it when the port is corrected."""
    config = Path("../home/config.toml")
    Path("prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    words = ("run", "prompts.txt", "-p", "local", "-m", "echo-1")
    with socket.socket() as taken, echo_upstream() as echo:  # nothing listens at a port that is only bound
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(f'[providers.local]\nupstream = "http://{place}/v1"\n', encoding="utf-8")
        said = f"the upstream at {place} could not be reached (ClientConnectorError); requests wait until it answers"
        try:
            waited = invoke(*words, "--timeout", "10s").failed(124, "job 1 is still in_progress", "obatch wait 1")
            assert waited.err.count(f"warning: job 1: {said}\n") == waited.err.count("could not be reached") == 1
            assert said in invoke("status").succeeded().out
            config.write_text(f'[providers.local]\nupstream = "{echo.base_url}"\n', encoding="utf-8")
            done = invoke(*words).succeeded()
            assert "2 of 2 succeeded" in done.err
            assert "could not be reached" not in done.err
            assert echo.calls() == {"one": 1, "two": 1}
        finally:
            invoke("serve", "--stop").succeeded()


@pytest.mark.slow
def test_settings_of_the_local_server_that_change_while_it_is_busy() -> None:
    """Jobs that it has can be looked at, waited for and cancelled; a new job is refused until they have ended."""
    config = Path("../home/config.toml")
    Path("prompts.txt").write_text("!sleep=8 busy\n", encoding="utf-8")
    Path("more.txt").write_text("more\n", encoding="utf-8")
    more = ("run", "more.txt", "-p", "local", "-m", "echo-1")
    with echo_upstream() as echo:
        settings = f'[providers.local]\nupstream = "{echo.base_url}"\n'
        config.write_text(settings, encoding="utf-8")
        try:
            invoke("run", "prompts.txt", "-p", "local", "-m", "echo-1", "--timeout", "1s").failed(124, "in_progress")
            wait_until(echo.now, "the request at the upstream")
            config.write_text(f"{settings}concurrency = 3\n", encoding="utf-8")
            invoke("status", "1").succeeded()
            invoke("wait", "1", "--timeout", "1s").failed(124, "job 1 is still in_progress")
            invoke(*more).failed(1, "the local server is working with other settings", "or cancel them")
            invoke("cancel", "1").succeeded()
            invoke("wait", "1")
            assert "1 of 1 succeeded" in invoke(*more).succeeded().err
            assert sorted(echo.calls().values()) == [1, 1]
        finally:
            invoke("serve", "--stop").succeeded()


@pytest.mark.slow
def test_standard_input_to_standard_output(faulty: FaultServer) -> None:
    """Requests from standard input are answered on standard output, which has only results."""
    lines = "".join(json.dumps(request(f"r{n}", "fault:rows=shuffled")) + "\n" for n in range(3))
    result = invoke("run", "-", "-p", "faulty", stdin=lines).succeeded()
    assert [json.loads(line)["custom_id"] for line in result.out.splitlines()] == ["r0", "r1", "r2"]
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_the_same_command_again_makes_no_second_batch(faulty: FaultServer) -> None:
    """The same command continues the same job; only --again starts another one."""
    write("in.jsonl", [request("a")])
    words = ("run", "in.jsonl", "-p", "faulty")
    invoke(*words).succeeded()
    again = invoke(*words).succeeded()
    assert "resuming job 1: batch batch_2 at faulty (--again would start a new one)" in again.err
    assert len(faulty.creates) == 1
    Path("in.results.jsonl").unlink()
    invoke(*words).succeeded()
    assert ids("in.results.jsonl") == ["a"]
    assert len(faulty.creates) == 1
    invoke(*words, "--again", "-o", "other.jsonl").succeeded()
    assert len(faulty.creates) == 2
    assert [job.id for job in Registry().jobs()] == [2, 1]


@pytest.mark.slow
def test_changed_input_is_another_job(faulty: FaultServer) -> None:
    """A changed input file is a new job, and replaces the results of the old one only with --force."""
    write("in.jsonl", [request("a")])
    invoke("run", "in.jsonl", "-p", "faulty").succeeded()
    write("in.jsonl", [request("b", text="Something else")])
    invoke("run", "in.jsonl", "-p", "faulty").failed(1, "contains the results of job 1", "--force")
    assert len(faulty.creates) == 1
    invoke("run", "in.jsonl", "-p", "faulty", "--force").succeeded()
    assert len(faulty.creates) == 2
    assert ids("in.results.jsonl") == ["b"]


@pytest.mark.slow
def test_unusable_outputs_are_refused_before_anything_is_paid(faulty: FaultServer) -> None:
    """An output that exists, is a folder or a device, or cannot be written is refused, and nothing is sent."""
    write("in.jsonl", [request("a")])
    Path("taken").write_text("mine", encoding="utf-8")
    words = ("run", "in.jsonl", "-p", "faulty")
    invoke(*words, "-o", "taken").failed(1, "taken already exists", "--force")
    invoke(*words, "--missing", "taken").failed(1, "taken already exists", "--force")
    invoke(*words, "-o", ".", "--force").failed(1, "is a folder", "-o")
    invoke(*words, "-o", "/dev/null", "--force").failed(1, "/dev/null is not a regular file", "-o")
    invoke(*words, "-o", "taken/below").failed(1, "cannot write taken/below", "choose another place")
    assert Path("taken").read_text(encoding="utf-8") == "mine"
    assert faulty.requests == []


def test_failed_rows_exit_with_5_and_can_be_submitted_again(faulty: FaultServer) -> None:
    """Failed requests give exit code 5, are in the results, and --missing writes them to a file to submit."""
    write("in.jsonl", [request(f"r{n}", MIXED) for n in range(4)])
    result = invoke("run", "in.jsonl", "-p", "faulty", "--missing", "rest.jsonl")
    result.failed(5, "2 of 4 answered: 2 succeeded, 2 failed", "without a change, they would fail again")
    assert "2 requests: 400: refused r1 (for example r1)" in result.err
    assert ids("in.results.jsonl") == ["r0", "r1", "r2", "r3"]
    assert ids("rest.jsonl") == ["r1", "r3"]
    assert invoke("submit", "rest.jsonl", "-p", "faulty", "-q").succeeded().out == "2\n"
    assert len(faulty.batches) == 2


@pytest.mark.slow
def test_missing_rows_exit_with_5_and_are_named(faulty: FaultServer) -> None:
    """Requests without a result are reported as missing, with their ids."""
    write("in.jsonl", [request(f"r{n}", ABSENT) for n in range(4)])
    invoke("run", "in.jsonl", "-p", "faulty").failed(5, "2 missing (r2, r3)", "in.results.jsonl")
    assert ids("in.results.jsonl") == ["r0", "r1"]
    # The results exist already; --missing can still be written.
    invoke("run", "in.jsonl", "-p", "faulty", "--missing", "rest.jsonl").failed(5, "2 of 4")
    assert ids("rest.jsonl") == ["r2", "r3"]
    assert len(faulty.batches) == 1


def test_a_failed_batch_shows_the_reason_of_the_provider(faulty: FaultServer) -> None:
    """A batch that fails as a whole exits with code 5 and the provider's reason, and writes no results."""
    write("in.jsonl", [request("a", "fault:end=failed")])
    result = invoke("run", "in.jsonl", "-p", "faulty")
    result.failed(5, "line 2: This line is no JSON. (invalid_json_line)", "--again")
    assert not Path("in.results.jsonl").exists()
    assert len(faulty.batches) == 1


def test_expired_batches_keep_what_was_paid(faulty: FaultServer) -> None:
    """The partial results of an expired batch are written, and the exit code is 5."""
    write("in.jsonl", [request(f"r{n}", "fault:end=expired;rows=expired") for n in range(4)])
    invoke("run", "in.jsonl", "-p", "faulty").failed(5, "job 1 expired: 2 of 4 answered")
    assert ids("in.results.jsonl") == ["r0", "r1", "r2", "r3"]
    assert len(faulty.batches) == 1


def test_dry_run_sends_and_writes_nothing(faulty: FaultServer) -> None:
    """`run --dry-run` sends no request, and creates no job and no file."""
    write("in.jsonl", [request("a")])
    result = invoke("run", "in.jsonl", "-p", "faulty", "-n").succeeded()
    assert "would upload" in result.err
    assert "1 request" in result.err
    assert faulty.requests == []
    assert invoke("ls").succeeded().out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl"]


@pytest.mark.slow
def test_json_is_one_document_about_the_results(faulty: FaultServer) -> None:
    """`run --json` prints one document about the job and its results, also if requests failed."""
    write("in.jsonl", [request(f"r{n}", MIXED) for n in range(4)])
    result = invoke("run", "in.jsonl", "-p", "faulty", "--json")
    assert result.code == 5
    assert result.json["results"]["succeeded"] == 2
    assert result.json["results"]["causes"] == {"400: refused r1": 2}
    assert result.json["batch_ids"] == list(faulty.batches)


def test_the_example_prints_a_table_in_a_terminal() -> None:
    """`run --example` prints a table of reviews and answers."""
    with fake_provider(lambda _: '{"sentiment": "positive"}'):
        shown = plain(see("run", "--example", "-m", "any").succeeded().out)
    assert "review-12" in shown
    assert "positive" in shown
    assert "12 of 12 succeeded" in shown
    assert "custom_id" not in shown
    assert not list(Path().glob("*.jsonl"))


@pytest.mark.slow
def test_run_refuses_bad_arguments(faulty: FaultServer) -> None:
    """Missing files, folders, empty inputs and options that do not apply are errors, and nothing is sent."""
    write("in.jsonl", [request("a")])
    invoke("run").failed(2, "name a file", "--example")
    invoke("run", "in.jsonl", "--system", "x", "-p", "faulty").failed(2, "is a batch file", "--system")
    invoke("run", "nowhere.txt", "-p", "faulty").failed(3, "nowhere.txt: No such file", "name a file")
    invoke("run", ".", "-p", "faulty").failed(3, "Is a directory", "name the files in it")
    invoke("run", "-", "-p", "faulty", "-m", "m", stdin="\n \n").failed(3, "there is no prompt", "one prompt per line")
    invoke("run", "-", "-p", "nobody", stdin="x\n").failed(6, "nobody", "known providers: ")
    assert faulty.requests == []


def test_a_missing_key_leaves_nothing_behind(faulty: FaultServer) -> None:
    """Without a key `run` exits with code 4, names the variable, and creates no job."""
    write("in.jsonl", [request("a")])
    invoke("run", "in.jsonl", "-p", "faulty", env={"TEST_KEY": None}).failed(
        4, "TEST_KEY is not set", "export TEST_KEY="
    )
    assert invoke("ls").succeeded().out == ""
    assert faulty.requests == []


@pytest.mark.slow
def test_a_provider_that_refuses_connections(faulty: FaultServer) -> None:
    """A refused connection exits with code 1, and the same command works once the provider is back."""
    faulty.stop_listening()
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "faulty").failed(1, "faulty cannot be reached", "base URL")
    faulty.listen_again()
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    assert len(faulty.batches) == 1


def test_a_profile_does_not_send_openais_key_elsewhere(faulty: FaultServer) -> None:
    """A profile that would send OpenAI's key to another host is refused, and nothing is sent."""
    configure("thief", faulty.base_url, api_key_env="OPENAI_API_KEY")
    write("in.jsonl", [request("a")])
    result = invoke("run", "in.jsonl", "-p", "thief", env={"OPENAI_API_KEY": "sk-of-openai"})
    result.failed(2, "OPENAI_API_KEY is OpenAI's key", "variable of its own")
    assert "sk-of-openai" not in result.err
    assert faulty.requests == []
