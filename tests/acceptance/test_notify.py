"""--notify: each target is notified once, safely, and the exit code does not change."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.canary import KEY, MARK, listener, response
from support.command import inside, invoke, plain, request, see, write

from openai_batch.jobs import notify

if TYPE_CHECKING:
    from support.faults import FaultServer

HOSTILE = "name\x1b]0;owned\x07 $(touch owned) `touch owned`; touch owned"


def teller(folder: Path, code: int = 0) -> str:
    """Return a target: a command that appends its variables to the file `told`, and exits with `code`."""
    program = folder / "tell.py"
    program.write_text(
        "import json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('OBATCH_')}\n"
        "open(sys.argv[1], 'a').write(json.dumps(told) + '\\n')\nprint('noise')\n"
        f"sys.exit({code})\n",
        encoding="utf-8",
    )
    return f"cmd:{sys.executable} {program} {folder / 'told'}"


def told(folder: Path) -> list[dict[str, Any]]:
    """Return the variables of each call of the command."""
    path = folder / "told"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_a_command_gets_the_job_in_its_environment(faulty: FaultServer, tmp_path: Path) -> None:
    """The command gets the job in variables, not through a shell, and its output is not shown."""
    write("in.jsonl", [request("a", "fault:rows=mixed"), request("b", "fault:rows=mixed")])
    words = ["run", "in.jsonl", "-p", "faulty", "-o", "-", "--name", HOSTILE, "--notify", teller(tmp_path)]
    result = inside(*words)
    assert result.code == 5
    assert "noise" not in result.out
    (call,) = told(tmp_path)
    assert (call["OBATCH_JOB"], call["OBATCH_STATUS"], call["OBATCH_REQUESTS"]) == ("1", "completed", "2")
    assert call["OBATCH_JOB_PROVIDER"] == "faulty"
    assert call["OBATCH_NAME"].startswith(r"name\x1b]0;owned\x07")
    assert "\x1b" not in str(call)
    assert not Path("owned").exists()
    assert len(faulty.batches) == 1


def test_rows_that_were_answered_before_are_not_counted(faulty: FaultServer, tmp_path: Path) -> None:
    """The notification and the token counts are only about the requests that this job sent."""
    words = ["run", "p.txt", "-p", "faulty", "-m", "m", "-o", "out.jsonl", "--notify", teller(tmp_path)]
    Path("p.txt").write_text("a\nb\n", encoding="utf-8")
    assert "2 of 2 succeeded; 6 tokens in, 8 out" in inside(*words).succeeded().err
    Path("p.txt").write_text("a\nb\nc\n", encoding="utf-8")
    assert "3 of 3 succeeded; 3 tokens in, 4 out" in inside(*words).succeeded().err
    assert [call["OBATCH_MESSAGE"] for call in told(tmp_path)] == [
        "job 1 completed: 2 of 2 requests answered",
        "job 2 completed: 1 of 1 request answered",
    ]
    assert [call["OBATCH_REQUESTS"] for call in told(tmp_path)] == ["2", "1"]
    assert len(faulty.batches) == 2


def test_wait_reports_each_job(faulty: FaultServer, tmp_path: Path) -> None:
    """`wait` on several jobs notifies about each job that ends, also if it failed."""
    write("one.jsonl", [request("a", "fault:end=completed")])
    write("two.jsonl", [request("a", "fault:end=failed")])
    write("three.jsonl", [request("a", f"fault:steps={','.join(['in_progress'] * 99)}")])
    for name in ("one", "two", "three"):
        inside("submit", f"{name}.jsonl", "-p", "faulty").succeeded()
    assert inside("wait", "1", "2", "3", "--timeout", "1s", "--notify", teller(tmp_path)).code == 5
    assert {(call["OBATCH_JOB"], call["OBATCH_STATUS"]) for call in told(tmp_path)} == {
        ("1", "completed"),
        ("2", "failed"),
    }
    assert len(faulty.batches) == 3


def test_a_notification_that_fails_is_a_warning(faulty: FaultServer, tmp_path: Path) -> None:
    """A command that fails or does not exist is a warning, and does not change the exit code."""
    write("in.jsonl", [request("a")])
    words = ["--notify", teller(tmp_path, 3), "--notify", "cmd:/no/such/program"]
    result = inside("run", "in.jsonl", "-p", "faulty", "-o", "-", *words).succeeded()
    assert "warning: job 1: the command" in result.err
    assert "(exit code 3)" in result.err
    assert "No such file or directory" in result.err
    assert json.loads(result.out)["custom_id"] == "a"
    assert len(told(tmp_path)) == 1
    assert faulty.batches


@pytest.mark.parametrize(
    ("target", "code", "message", "hint"),
    [
        ("email", 2, "'email' is not known", "bell"),
        ("cmd:", 2, "has no command", "cmd:"),
        ("cmd:'", 2, "a quote has no end", "close it"),
        (f"env:json://{MARK}", 2, "must name an environment variable", "export VARIABLE"),
        ("env:NO_SUCH", 2, "NO_SUCH is not set", "export NO_SUCH"),
        (f"nonsense://{MARK}/x", 2, "nonsense://… is not a URL that Apprise knows", "services"),
    ],
)
def test_an_invalid_target_is_refused_before_anything_is_sent(
    faulty: FaultServer, target: str, code: int, message: str, hint: str
) -> None:
    """An invalid target is an error, and is not printed with its secret."""
    pytest.importorskip("apprise")
    write("in.jsonl", [request("a")])
    result = invoke("run", "in.jsonl", "-p", "faulty", "-o", "-", "--notify", target).failed(code, message, hint)
    assert MARK not in result.err
    assert faulty.requests == []


@pytest.mark.slow
def test_apprise_is_an_extra(faulty: FaultServer, tmp_path: Path) -> None:
    """Without Apprise, a URL is refused, and the hint installs the extra; other targets work."""
    (tmp_path / "apprise.py").write_text("raise ImportError\n", encoding="utf-8")
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    write("in.jsonl", [request("a")])
    words = ["run", "in.jsonl", "-p", "faulty", "-o", "-"]
    invoke(*words, "--notify", "json://x", env=env).failed(2, "json://… needs an extra", "openai-batch[notify]")
    assert faulty.requests == []
    invoke(*words, "--notify", "bell", env=env).succeeded()


@pytest.mark.slow
def test_a_webhook_gets_the_message_and_its_url_stays_secret(faulty: FaultServer, tmp_path: Path) -> None:
    """A URL gets one message, and is never printed or stored, whether it works or not."""
    pytest.importorskip("apprise")
    write("in.jsonl", [request("a")])
    with listener(lambda _: response(200, "{}")) as webhook:
        url = webhook.url.replace("http", "json") + f"/{KEY}"
        words = ["run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl"]
        results = [invoke(*words, "--notify", "env:HOOK", env={"HOOK": url, "OBATCH_DEBUG": "1"}).succeeded()]
        (heard,) = webhook.heard
        assert MARK.encode() in heard
    assert len(faulty.batches) == 1
    results.append(invoke("wait", "1", "--notify", url).succeeded())
    assert "json://… was not delivered" in results[1].err
    for result in results:
        assert MARK not in result.out + result.err
    for path in [*tmp_path.rglob("*"), *Path().rglob("*")]:
        assert not path.is_file() or MARK.encode() not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_a_notification_that_hangs_times_out(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook or a command that does not end is a warning after a timeout."""
    pytest.importorskip("apprise")
    monkeypatch.setattr(notify, "PATIENCE", 1.0)
    write("in.jsonl", [request("a", "fault:poll=drip*99")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    (batch,) = faulty.batches
    write("b.jsonl", [request("b")])
    hook = f"{faulty.base_url.replace('http', 'json', 1)}/batches/{batch}?method=get"
    begun = time.monotonic()
    words = ["--notify", hook, "--notify", f"cmd:{sys.executable} -c 'import time; time.sleep(60)'"]
    result = inside("run", "b.jsonl", "-p", "faulty", "-o", "-", *words).succeeded()
    assert time.monotonic() - begun < 30
    assert "json://… failed (TimeoutError)" in result.err
    assert "failed (TimeoutExpired)" in result.err


@pytest.mark.slow
def test_the_bell_rings_only_in_a_terminal(faulty: FaultServer) -> None:
    """`bell` writes one character to a terminal, and nothing to a pipe."""
    write("in.jsonl", [request("a")])
    words = ["run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--notify", "bell"]
    shown = see(*words, columns=80).succeeded().out
    assert shown.count("\a") == 1
    assert "the results are in out.jsonl" in plain(shown).replace("\r\n", " ").replace("\n", " ")
    assert "\a" not in inside("wait", "1", "--notify", "bell").succeeded().err
    assert faulty.batches


def test_the_default_is_in_the_configuration(faulty: FaultServer, tmp_path: Path) -> None:
    """Without the option, `notify` of the configuration is used; `--notify none` turns it off."""
    inside("config", "set", "notify", teller(tmp_path)).succeeded()
    write("in.jsonl", [request("a")])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--notify", "none").succeeded()
    assert told(tmp_path) == []
    inside("wait", "1").succeeded()
    assert len(told(tmp_path)) == 1
    inside("run", "in.jsonl", "-p", "faulty", "--dry-run").succeeded()
    assert len(told(tmp_path)) == 1
    assert faulty.batches


def test_a_target_of_the_file_that_is_not_set_is_reported_as_such(faulty: FaultServer) -> None:
    """The user has not typed it in this command; nothing is sent."""
    path = Path(os.environ["OBATCH_CONFIG"])
    path.write_text('notify = ["env:NO_SUCH"]\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    write("in.jsonl", [request("a")])
    told = "notify in the configuration file: env:NO_SUCH: NO_SUCH is not set"
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").failed(2, told, "export NO_SUCH")
    assert not faulty.requests
