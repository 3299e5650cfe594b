"""The lines of the live display in narrow and wide windows."""

from __future__ import annotations

import time

import pytest

from openai_batch.cli.live import job_lines, step_line
from openai_batch.cli.progress import LogReporter, rate_text, usual_text, waiting_text
from openai_batch.jobs.store.records import JobRecord, PartRecord, PartState
from openai_batch.providers.batch_info import Counts


def job(*, queued: int = 0) -> JobRecord:
    """Return a job that has run for 65 seconds, with 300 of 1,000 requests done, and `queued` parts that wait."""
    now = time.time()
    running = PartRecord(
        1,
        1,
        PartState.RUNNING,
        requests=1000 - queued,
        batch_id="batch_1",
        status="in_progress",
        counts=Counts(1000 - queued, 298, 2),
        created_at=now - 60,
        expires_at=now + 23 * 3600 + 30,
    )
    waits = [PartRecord(1, 2 + number, requests=1, queued=True) for number in range(queued)]
    return JobRecord(
        id=1,
        identity="i",
        provider="p",
        base_url="u",
        account="a",
        endpoint="/v1/chat/completions",
        window="24h",
        created_at=now - 65,
        requests=1000,
        parts=(running, *waits),
    )


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_job_has_everything_at_every_width(columns: int) -> None:
    """A job shows its phase, bar, counts, time, rate, usual time and expiry at every width, and no line is too long."""
    lines = job_lines(job(), columns, ["usually 11 min; 9 of 10 within 2 h"])
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("job 1 in progress ━")
    assert lines[0].endswith("300/1,000, 2 failed, 1 min 05 s")
    assert " ".join(" ".join(lines[1:]).split()) == ("usually 11 min; 9 of 10 within 2 h, 5/s, expires in 23 h 00 min")


def test_no_line_is_wider_than_the_window() -> None:
    """At every width from 20 to 200 columns, each line fits and nothing is left out."""
    details = ["2 of 3 parts waiting for 1 min 15 s: the provider's queue is full", "usually 11 min"]
    said = "job 1 in progress 300/1,000, 2 failed, 1 min 05 s " + ", ".join(details) + ", 5/s, expires in 23 h 00 min"
    for columns in range(20, 201):
        lines = job_lines(job(), columns, details)
        assert max(map(len, lines)) <= columns, lines
        shown = "".join(char for char in " ".join(lines) if char not in "━╌").replace(",", "")
        assert shown.split() == said.replace(",", "").split(), lines


def test_a_full_queue_is_reported_with_its_time() -> None:
    """A job that waits for the provider's queue shows how many parts wait, for how long and why."""
    since = time.time() - 75
    assert waiting_text(job(queued=2), since) == "2 of 3 parts waiting for 1 min 15 s: the provider's queue is full"
    assert waiting_text(job()) == ""


def test_an_estimate_needs_earlier_jobs() -> None:
    """A few earlier jobs give no estimate; some give the usual time; more also give the time of 9 of 10 jobs."""
    assert usual_text([60.0, 70.0]) == ""
    assert usual_text([60.0, 660.0, 900.0]) == "usually 11 min"
    assert usual_text([60.0] * 5 + [660.0] * 4 + [7200.0]) == "usually 11 min; 9 of 10 within 11 min"


def test_a_rate_has_a_unit_that_fits() -> None:
    """The rate of a slow job is shown per minute or per hour."""
    slow = job()
    assert rate_text(slow, time.time()) == "5/s"
    assert rate_text(slow, time.time() + 3600) == "5/min"
    assert rate_text(slow, time.time() + 3600 * 1000) == "0/h"


def test_a_log_has_a_line_for_a_step_and_for_a_transfer(capsys: pytest.CaptureFixture[str]) -> None:
    """A step without a size logs one line at its start, and a transfer logs one line at its end."""
    log = LogReporter()
    for step in (
        ("starting the server", 0, None),
        ("starting the server", 0, 0),
        ("upload", 5, 10),
        ("upload", 10, 10),
    ):
        log.progress(*step)
    assert capsys.readouterr().err == "starting the server\nupload: 10 B of 10 B\n"


def test_a_step_shows_how_far_it_is() -> None:
    """A step without a size shows only its name; without Unicode everything is ASCII."""
    assert step_line("connecting to acme", 0, None, 80) == "connecting to acme …"
    assert step_line("upload", 500, 1000, 60) == f"upload {'━' * 12}{'╌' * 12} 500 B of 1.0 kB"
    assert step_line("upload", 500, 1000, 60, fancy=False).isascii()
