"""`obatch report`, and the summary that `run`, `download` and `wait` print at the end of a job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import invoke, plain, request, see, write

from openai_batch import Jobs
from openai_batch.errors import BatchError, OutputExistsError
from openai_batch.testing import Cut, Failure, Refusal, fake_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import FaultServer

TEXT = "<b>Grüße</b> & \x1b[31mred\x1b[0m"


def answer(request: dict[str, Any]) -> Any:
    """Answer eleven requests: six successes, and one or two of each other outcome."""
    number = int(request["custom_id"].removeprefix("line-"))
    others = {2: Refusal(), 4: Cut("half"), 6: Failure(429, "slow down, req_6"), 8: Failure(429, "slow down, req_8")}
    return None if number == 10 else others.get(number, f"{TEXT} {number}")


@pytest.fixture
def ended() -> Iterator[None]:
    """Run a table of eleven rows with every outcome."""
    Path("t.csv").write_text("text\n" + "".join(f"prompt {n}\n" for n in range(1, 12)), encoding="utf-8")
    with fake_provider(answer):
        done = invoke("run", "t.csv", "-o", "out.csv")
        assert done.code == 5, done
        yield


@pytest.mark.usefixtures("ended")
def test_a_pipe_gets_labels_and_texts() -> None:
    """In a pipe, `report` prints one labelled line per value, with control characters escaped."""
    told = invoke("report", "1").succeeded()
    fields = told.fields
    assert fields["requests"] == "11"
    assert fields["answers"] == "6 succeeded, 1 cut, 1 refused, 2 failed, 1 missing"
    assert fields["tokens in"].startswith("8; median 1")
    assert fields["answered after"] == "unknown"
    assert fields["error"] == "2 requests: 429: slow down, req_6 (line-6, line-8)"
    assert fields["cut"] == "1 request: cut: length (line-4)"
    assert fields["missing"].endswith("(line-10)")
    assert "\x1b" not in told.out


@pytest.mark.usefixtures("ended")
def test_a_terminal_of_80_columns() -> None:
    """In a terminal no line is wider than 80 columns, and times are readable."""
    shown = plain(see("report", "1", columns=80).succeeded().out)
    assert max(map(len, shown.splitlines())) <= 80
    assert "6 succeeded, 1 cut, 1 refused, 2 failed, 1 missing" in shown
    times = {line.split("  ")[0]: line for line in shown.splitlines()}
    assert re.search(r" [0-9]{2} [A-Z][a-z]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} *$", times["sent"])
    assert "answered after" not in times


@pytest.mark.slow
def test_a_terminal_gets_only_times_that_are_known(faulty: FaultServer) -> None:
    """In a terminal, unknown times are left out; in a pipe they are `unknown`."""
    write("in.jsonl", [request("a")])
    faulty.also = {"created_at": None, "completed_at": None}
    invoke("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    shown = plain(see("report", "1").succeeded().out)
    assert "took" not in shown
    assert "sent" not in shown
    assert invoke("report", "1").succeeded().fields["took"] == "unknown"


@pytest.mark.usefixtures("ended")
def test_json_has_the_numbers_of_the_report() -> None:
    """`report --json` prints outcomes, causes with samples, distributions and parts."""
    told = invoke("report", "--json").succeeded().json
    assert told["outcomes"] == {"success": 6, "cut": 1, "refused": 1, "error": 2, "missing": 1}
    assert told["causes"][0] == {
        "outcome": "error",
        "cause": "429: slow down, req_6",
        "count": 2,
        "retryable": True,
        "samples": ["line-6", "line-8"],
    }
    assert told["prompt_tokens"]["bars"] == [[1, 2, 8]]
    assert [part["requests"] for part in told["parts"]] == [11]
    assert told["finish_reasons"] == {"stop": 7, "length": 1}
    assert invoke("report", "-q").succeeded().out == "1\n"


@pytest.mark.slow
@pytest.mark.usefixtures("ended")
def test_the_page_is_written_once() -> None:
    """`report --html` writes a page with prompts and answers, and replaces a file only with --force."""
    told = invoke("report", "1", "--html", "r.html").succeeded()
    assert told.out == ""
    assert "the report of job 1 is in r.html" in told.err
    page = Path("r.html").read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    shown = TEXT.replace("\x1b", r"\x1b")
    assert data["rows"][0] == ["line-1", "success", "prompt 1", f"{shown} 1"]
    assert data["rows"][9][1:3] == ["missing", "prompt 10"]
    assert "<b>Gr" not in page
    invoke("report", "1", "--html", "r.html").failed(1, "r.html already exists", "--force")
    invoke("report", "1", "--html", "out.csv", "--force").failed(2, ".csv files cannot be written", ".html")
    Path("link.html").symlink_to("t.csv")
    invoke("report", "1", "--html", "link.html", "--force").failed(2, "is an input file, which is never replaced")
    assert invoke("report", "1", "--html", "r.html", "--force", "--json").succeeded().json["html"] == "r.html"


@pytest.mark.slow
@pytest.mark.usefixtures("ended")
def test_the_report_in_python() -> None:
    """`Job.report` has the same values and writes the same page as the command."""
    invoke("report", "1", "--html", "command.html").succeeded()
    with Jobs() as jobs:
        report = jobs.get(1).report()
        assert report.record() | {"html": None} == invoke("report", "1", "--json").succeeded().json
        path = report.to_html("program.html")
        assert path.read_bytes() == Path("command.html").read_bytes()
        with pytest.raises(OutputExistsError):
            report.to_html(path)


@pytest.mark.slow
def test_a_running_job_has_no_report(faulty: FaultServer) -> None:
    """`report` on a running job is an error, and the hint is `obatch wait`."""
    assert faulty.base_url
    Path("p.txt").write_text("hi\n", encoding="utf-8")
    model = "fault:steps=" + ",".join(["in_progress"] * 50)
    invoke("run", "p.txt", "-p", "faulty", "-m", model, "--timeout", "0.1")
    invoke("report", "1", "--html", "r.html").failed(1, "job 1 is still in_progress", "obatch wait 1")
    assert not Path("r.html").exists()
    with Jobs() as jobs, pytest.raises(BatchError):
        jobs.get(1).report()


@pytest.mark.slow
def test_a_batch_file_shows_its_prompts() -> None:
    """The prompts of a batch file are read from the file, if it still exists."""
    lines = [
        {"custom_id": f"line-{n}", "method": "POST", "url": "/v1/chat/completions"}
        | {"body": {"model": "m", "messages": [{"role": "user", "content": f"prompt {n}"}]}}
        for n in (1, 3)
    ]
    with fake_provider(answer):
        invoke("run", str(write("in.jsonl", lines)), "-o", "out.jsonl").succeeded()
        with Jobs() as jobs:
            assert [row.prompt for row in jobs.get(1).report().rows] == ["prompt 1", "prompt 3"]
            Path("in.jsonl").unlink()
            assert [row.prompt for row in jobs.get(1).report().rows] == ["", ""]


@pytest.mark.usefixtures("ended")
def test_the_end_of_a_run_names_causes_tokens_and_the_next_command() -> None:
    """The summary has every cause with a sample, the tokens and the next command."""
    told = invoke("download", "1", "-o", "again.csv", "--json")
    assert told.code == 5
    assert "8 tokens in, 8 out" in told.err
    for line in (
        "2 requests: 429: slow down, req_6 (for example line-6)",
        "1 request: cut: length (line-4)",
        "1 request: refused (line-2)",
    ):
        assert f"  {line}\n" in told.err
    assert "obatch retry 1" in told.err
    assert told.json["results"]["usage"] == {"input_tokens": 8, "output_tokens": 8}
    assert [cause["count"] for cause in told.json["results"]["failures"]] == [2, 1, 1, 1]
    assert told.json["next"] == "obatch retry 1"
    assert told.json["seconds"] is not None


@pytest.mark.slow
def test_refused_answers_are_explained_at_a_good_end(faulty: FaultServer) -> None:
    """A run that exits with code 0 still prints the causes of refused and cut answers."""
    assert faulty.base_url
    Path("p.txt").write_text("a\nb\nc\n", encoding="utf-8")
    told = invoke("run", "p.txt", "-p", "faulty", "-m", "fault:rows=declined,cut", "-o", "o.jsonl").succeeded()
    assert "3 of 3 answered: 1 succeeded, 1 cut, 1 refused; 9 tokens in, 12 out" in told.err
    assert "  1 request: refused (line-2)\n  1 request: cut: length (line-3)\n" in told.err or (
        "  1 request: cut: length (line-3)\n  1 request: refused (line-2)\n" in told.err
    )


@pytest.mark.slow
def test_wait_points_to_results_that_are_there() -> None:
    """If the results were already downloaded, `wait` suggests `results` or `retry`, not `download`."""
    Path("p.txt").write_text("a\n", encoding="utf-8")
    Path("q.txt").write_text("a\nb\n", encoding="utf-8")
    with fake_provider(lambda request: None if request["custom_id"] == "line-2" else "yes"):
        invoke("run", "p.txt", "-o", "o.jsonl").succeeded()
        assert "hint: obatch results 1" in invoke("wait", "1").succeeded().err
        assert invoke("run", "q.txt", "-o", "q.jsonl").code == 5
        told = invoke("wait", "2").failed(5, "job 2", "q.jsonl; `obatch retry 2`")
        assert "obatch download" not in told.err
