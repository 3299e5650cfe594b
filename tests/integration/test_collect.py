"""The results of a batch are collected however it ends, and an incomplete file is never published."""

from __future__ import annotations

import json
import time
from codecs import BOM_UTF8
from typing import TYPE_CHECKING

import pytest
from support.plan import read_plan

from openai_batch.batch.save import replace_keeping_backup
from openai_batch.errors import BatchError, DownloadError, IncompleteError, OutputExistsError
from openai_batch.files.atomic import part_file, publish
from openai_batch.files.backups import move_to_backup
from openai_batch.files.slice import FileSlice
from openai_batch.jobs.collect import CollectOptions, collect, fetch_raw, raise_if_incomplete
from openai_batch.jobs.jobs import Jobs
from openai_batch.jobs.recover import adopt
from openai_batch.jobs.retry import survey
from openai_batch.jobs.store.records import PartState
from openai_batch.jobs.submit import start
from openai_batch.net import transfer
from openai_batch.providers import openai_api as api
from openai_batch.providers.attempt import Attempt, new_token
from openai_batch.results.export import Export
from openai_batch.results.outcome import NO_RESULT, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

    from openai_batch.jobs.store.records import JobRecord
    from openai_batch.jobs.workflow import Workflow

GOOD = ["", "shuffled", "twice", "strangers", "string", "nonewline", "noerrors", "crlf", "blank", "conflict"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a broken download after two tries."""
    monkeypatch.setattr(transfer, "MAX_TRIES", 2)


def no_leftovers(folder: Path) -> bool:
    """Return whether no hidden part file is left."""
    return not list(folder.glob(".*.part"))


@pytest.mark.parametrize("rows", GOOD)
def test_each_request_has_one_result_in_input_order(workbench: Workbench, rows: str) -> None:
    """Each request has one line in input order, however the provider writes its files."""
    done = workbench.run(f"fault:rows={rows}", requests=7)
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(7)]
    assert workbench.out.read_bytes().count(b"\n") == 7
    assert b"\r" not in workbench.out.read_bytes()
    assert (done.tally.succeeded, done.tally.requests) == (True, 7)
    assert all(row["response"]["status_code"] == 200 for row in workbench.rows())
    assert {part.state for part in done.job.parts} == {PartState.COLLECTED}
    raise_if_incomplete(done)
    assert no_leftovers(workbench.folder)
    assert any("strangers" in rows and "not asked for" in text for text in workbench.reporter.warnings) == (
        rows == "strangers"
    )


@pytest.mark.parametrize(
    ("plan", "succeeded", "failed", "missing"),
    [
        ("end=completed;rows=mixed", 2, 2, 0),
        ("end=completed;rows=mixed,inline", 2, 2, 0),
        ("end=completed;rows=mixed,noerrors", 2, 2, 0),
        ("end=completed;rows=allerrors", 0, 4, 0),
        ("end=completed;rows=absent", 2, 0, 2),
        ("end=expired;rows=expired", 2, 2, 0),
        ("end=expired;rows=absent", 2, 0, 2),
        ("end=cancelled;rows=absent", 2, 0, 2),
        ("end=cancelled;rows=expired,mixed", 1, 3, 0),
    ],
)
def test_each_end_is_collected(workbench: Workbench, plan: str, succeeded: int, failed: int, missing: int) -> None:
    """All results are written whatever the final status, and the error counts the successes."""
    done = workbench.run(f"fault:{plan}")
    tally = done.tally
    counts = [tally.outcomes[outcome] for outcome in (Outcome.SUCCESS, Outcome.ERROR, Outcome.MISSING)]
    assert counts == [succeeded, failed, missing]
    assert len(workbench.rows()) == succeeded + failed
    with pytest.raises(IncompleteError) as told:
        raise_if_incomplete(done)
    assert told.value.code == 5
    assert f"{succeeded} of 4" in str(told.value)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("", "line 2: This line is no JSON. (invalid_json_line)"),
        ("errorslist", "failed"),
        ("errorsstrings", "something went wrong"),
    ],
)
def test_a_failed_batch_shows_the_reason(workbench: Workbench, shape: str, words: str) -> None:
    """A batch that failed as a whole writes no file, and its reasons are in the error."""
    done = workbench.run(f"fault:end=failed;shape={shape}")
    assert done.path is None
    assert not workbench.out.exists()
    with pytest.raises(IncompleteError, match="failed") as told:
        raise_if_incomplete(done)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("plan", "code", "words"),
    [
        ("end=failed", "batch_failed", "the batch failed: line 2: This line is no JSON. (invalid_json_line)"),
        ("end=expired;rows=absent", "batch_expired", "the batch expired before this request had a result"),
        ("end=cancelled;rows=absent", "batch_cancelled", "the batch was cancelled before this request had a result"),
        ("end=completed;rows=absent", "missing", "no result"),
    ],
)
def test_each_missing_row_says_what_became_of_its_batch(workbench: Workbench, plan: str, code: str, words: str) -> None:
    """The error of a missing row says how its batch ended, in tables and in Python."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:{plan}"), timeout=60)
    collect(workflow, job, workbench.out, CollectOptions(export=Export("rows")))
    lacking = [row for row in workbench.rows() if row["outcome"] == "missing"]
    assert {(row["error_code"], row["error_message"]) for row in lacking} == {(code, words)}
    with Jobs() as jobs:
        results = [result for result in jobs.get(job.id).results() if result.outcome == "missing"]
    assert [str(result.error) for result in results] == [f"{code}: {words}"] * len(lacking)
    assert lacking


@pytest.mark.parametrize("shape", ["emptyids", "nullcounts", "nocounts", "upper", "nullcounts,emptyids,upper"])
def test_odd_batch_objects_are_accepted(workbench: Workbench, shape: str) -> None:
    """Empty ids, null or missing counts, and statuses in capital letters are accepted."""
    raise_if_incomplete(workbench.run(f"fault:shape={shape};steps=validating,in_progress"))
    assert len(workbench.rows()) == 4


def test_file_ids_that_come_late_are_waited_for(workbench: Workbench) -> None:
    """If a completed batch shows its file ids only later, no result is lost."""
    raise_if_incomplete(workbench.run("fault:late=2"))
    assert len(workbench.rows()) == 4


def test_missing_requests_can_be_written_to_a_file(workbench: Workbench) -> None:
    """The requests without a success are written byte for byte."""
    workflow = workbench.workflow()
    spec = workbench.spec("fault:rows=mixed,absent", requests=6)
    job = workflow.wait(start(workflow, spec)[0], timeout=30)
    rest = workbench.folder / "rest.jsonl"
    collect(workflow, job, workbench.out, CollectOptions(missing=rest))
    lines = spec.batch_file.path.read_bytes().splitlines(keepends=True)
    assert rest.read_bytes() == b"".join(lines[n] for n in (1, 3, 4, 5))


def test_what_may_exist_is_not_reported_as_missing(workbench: Workbench) -> None:
    """If the input of an adopted batch is gone, a file of missing requests is refused."""
    workflow = workbench.workflow()
    job = workflow.wait(adopted(workbench, workflow), timeout=30)
    workbench.server.files.pop(str(job.parts[0].file_id))
    rest = workbench.folder / "rest.jsonl"
    with pytest.raises(BatchError, match="cannot tell which"):
        collect(workflow, job, workbench.out, CollectOptions(missing=rest))
    assert not rest.exists()
    with pytest.raises(IncompleteError, match=r"2 of 4 answered: 2 succeeded, 2 missing$"):
        raise_if_incomplete(collect(workflow, job, workbench.out))
    assert any("in the provider's order" in text for text in workbench.reporter.warnings)


@pytest.mark.parametrize("fault", ["500*9", "close*9", "reset:40*9", "html*9"])
def test_an_unavailable_input_is_not_guessed(workbench: Workbench, fault: str) -> None:
    """While the input of an adopted batch cannot be downloaded, no results are written."""
    workflow = workbench.workflow()
    job = workflow.wait(adopted(workbench, workflow), timeout=30)
    given = workbench.server.files[str(job.parts[0].file_id)]
    given.purpose = "batch_output"  # only these get faults when they are downloaded
    given.plan.faults.update(read_plan(f"fault:content={fault}").faults)
    with pytest.raises(BatchError):
        collect(workflow, job, workbench.out)
    assert not workbench.out.exists()
    assert not [text for text in workbench.reporter.warnings if "in the provider's order" in text]
    given.plan.faults.clear()
    assert collect(workflow, job, workbench.out).tally.outcomes[Outcome.MISSING] == 2


def adopted(workbench: Workbench, workflow: Workflow) -> JobRecord:
    """Adopt a batch that another program made; half of its results are missing."""
    path = workbench.write("fault:rows=absent")
    with path.open("rb") as content:
        api = workbench.api()
        file = api.upload(FileSlice(content, 0, path.stat().st_size, lambda _: None), "in.jsonl")
        info = api.create(Attempt(file.id, "/v1/chat/completions", "24h", new_token(), time.time()))
        api.close()
    return adopt(workflow, info.id)


def test_a_file_that_is_gone_gets_no_backup(tmp_path: Path) -> None:
    """If the old file is gone, no empty backup is created; otherwise it is renamed and replaced."""
    new, path = tmp_path / "new", tmp_path / "out"
    assert move_to_backup(path) is None
    assert not list(tmp_path.glob("out*"))
    path.write_bytes(b"old")
    new.write_bytes(b"new")
    assert move_to_backup(path) == tmp_path / "out.1"
    replace_keeping_backup(new, path)
    assert path.read_bytes() == b"new"


def test_raw_files_are_the_providers_own_bytes(workbench: Workbench) -> None:
    """Without merging, both files are written unchanged."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:rows=mixed,shuffled,crlf"), timeout=30)
    paths = fetch_raw(workflow, job, workbench.folder)
    stored = [file.data for file in workbench.server.files.values() if file.purpose == "batch_output"]
    assert sorted(path.read_bytes() for path in paths) == sorted(stored)


def test_an_existing_file_is_replaced_only_with_force(workbench: Workbench) -> None:
    """An existing file is not replaced, and nothing is downloaded for it; `force` replaces it."""
    workbench.out.write_text("precious")
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:end=completed"), timeout=30)
    with pytest.raises(OutputExistsError):
        collect(workflow, job, workbench.out)
    assert workbench.out.read_text() == "precious"
    assert workbench.server.seen("GET", "/files/.*/content") == []
    collect(workflow, job, workbench.out, CollectOptions(force=True))
    assert len(workbench.rows()) == 4


def test_a_file_created_by_another_process_is_not_replaced(tmp_path: Path) -> None:
    """A file that another process creates during the write is not replaced."""
    target = tmp_path / "out.jsonl"
    with part_file(target) as (handle, part):
        handle.write(b"ours")
        target.write_bytes(b"theirs")
        with pytest.raises(OutputExistsError):
            publish(handle, part, target)
        assert target.read_bytes() == b"theirs"
        publish(handle, part, target, replace=True)
    assert target.read_bytes() == b"ours"
    assert no_leftovers(tmp_path)


MANY = 3000
"""The number of requests whose results, about a megabyte, are sent in several chunks."""

TRUNCATIONS = (
    *("half", "half:40", "half:0", "nolength", "short", "short:90", "long", "chunkcut", "reset:40", "gzipcut"),
    *("html", "jsonerror", "garbage", "close", "500", "429:0", "404"),
)


@pytest.mark.parametrize("fault", TRUNCATIONS)
def test_an_incomplete_file_is_not_published(workbench: Workbench, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete or invalid download is an error and writes no file; a later one succeeds."""
    monkeypatch.setattr(api, "_SIZE_TRIES", 1)
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:content={fault}*2"), timeout=30)
    with pytest.raises(BatchError) as told:
        collect(workflow, job, workbench.out)
    assert "canary" not in str(told.value)
    assert not workbench.out.exists()
    assert no_leftovers(workbench.folder)
    job = workflow.registry.job(job.id)
    assert job.parts[0].state != PartState.COLLECTED
    for _ in range(2):  # if there was no retry, a fault is left for the next try
        try:
            raise_if_incomplete(collect(workflow, job, workbench.out))
            break
        except BatchError:
            continue
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(4)]
    assert workbench.server.strays == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["short:90", "nolength", "html"])
def test_a_download_of_the_wrong_size_is_retried(workbench: Workbench, fault: str) -> None:
    """After two broken downloads in a row, the third is kept and used again."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:content={fault}*2"), timeout=30)
    for _ in range(2):
        raise_if_incomplete(collect(workflow, job, workbench.out, CollectOptions(force=True)))
    assert len(workbench.rows()) == 4
    assert len(workbench.server.seen("GET", "/files/.*/content")) == 3


def test_a_file_cut_at_a_line_end_is_found_by_its_recorded_size(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was cut after a complete line is refused because its recorded size differs."""
    monkeypatch.setattr(api, "_SIZE_TRIES", 1)
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:end=completed"), timeout=30)
    job = workflow.registry.job(job.id)
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    cut = output.data.index(b"\n") + 1
    for fault in (f"short:{cut}", "nolength"):
        output.plan.faults.update(read_plan(f"fault:content={fault}").faults)
        with pytest.raises(DownloadError, match="arrived with"):
            collect(workflow, job, workbench.out)
    assert not workbench.out.exists()


@pytest.mark.parametrize("fault", ["wholenolength", "gzip", "slow"])
def test_unusual_complete_downloads_are_accepted(workbench: Workbench, fault: str) -> None:
    """A complete download without a length, with compression, or with pauses is accepted."""
    raise_if_incomplete(workbench.run(f"fault:content={fault}"))
    assert len(workbench.rows()) == 4


@pytest.mark.parametrize("record", ["file=nobytes*9", "file=404*9"])
def test_a_missing_recorded_size_is_not_a_fault(workbench: Workbench, record: str) -> None:
    """If the provider has no recorded size, complete lines are accepted."""
    raise_if_incomplete(workbench.run(f"fault:{record}"))
    assert len(workbench.rows()) == 4


@pytest.mark.parametrize("fault", ["half", "reset:700000"])
@pytest.mark.parametrize(
    ("mode", "resumes"),
    [
        ("good", True),
        ("", False),
        ("ignored", False),
        ("wrong", False),
        ("noheader", False),
        ("swapped", False),
        ("weak", False),
    ],
)
def test_a_broken_download_is_resumed_only_where_that_is_proven(
    workbench: Workbench, fault: str, mode: str, *, resumes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results are always correct; a range is appended only if it is proven to match."""
    monkeypatch.setattr(transfer, "MAX_TRIES", 5)
    raise_if_incomplete(workbench.run(f"fault:content={fault};range={mode}", requests=MANY))
    assert [row["custom_id"] for row in workbench.rows()] == [f"id-{n}" for n in range(MANY)]
    asked = ["range" in request.headers for request in workbench.server.seen("GET", "/files/.*/content")]
    assert asked[0] is False
    assert asked[1] is (mode not in ("", "weak"))
    assert len(asked) == (2 if resumes or mode in ("", "ignored", "weak") else 3)


def test_a_file_that_changed_between_two_tries_is_read_again(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the ETag has changed, the download starts from the beginning."""
    monkeypatch.setattr(transfer, "MAX_TRIES", 5)
    raise_if_incomplete(workbench.run("fault:content=half;range=changed", requests=MANY))
    assert len(workbench.rows()) == MANY
    second = workbench.server.seen("GET", "/files/.*/content")[1]
    assert second.headers["if-range"].startswith('"file-')


def test_answers_go_to_a_stream_too(workbench: Workbench) -> None:
    """Results can be written to an open file."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:rows=shuffled"), timeout=30)
    with workbench.out.open("w+b") as handle:
        collect(workflow, job, handle)
    assert [json.loads(line)["custom_id"] for line in workbench.out.read_bytes().splitlines()] == [
        f"id-{n}" for n in range(4)
    ]


@pytest.mark.parametrize("off", [-1, 1, 2])
def test_a_record_of_the_size_may_be_off_by_a_line_end(workbench: Workbench, off: int) -> None:
    """A recorded size that differs by a line ending is accepted."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:end=completed"), timeout=30)
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    output.recorded = len(output.data) + off
    raise_if_incomplete(collect(workflow, job, workbench.out))
    assert len(workbench.rows()) == 4
    (path,) = fetch_raw(workflow, job, workbench.folder)
    assert path.read_bytes() == output.data


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["", "chunked"])
def test_a_recorded_size_that_is_too_large_does_not_stop_a_download(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    """A file that is smaller than recorded is accepted with a warning if it has every result."""
    monkeypatch.setattr(api, "_SIZE_TRIES", 2)
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit(f"fault:rows=mixed{f';content={sent}*9' if sent else ''}"), timeout=30)
    files = [file for file in workbench.server.files.values() if file.purpose == "batch_output"]
    for file in files:
        file.recorded = 1_000_000
    done = collect(workflow, job, workbench.out)
    assert (done.tally.requests, len(workbench.rows())) == (4, 4)
    (told,) = (text for text in workbench.reporter.warnings if "of 1,000,000 bytes on record" in text)
    assert "(and 1 file more); accepted, because each request has a complete result" in told
    collect(workflow, job, workbench.out, CollectOptions(force=True))  # from the kept files, without a warning
    assert len(workbench.server.seen("GET", "/files/.*/content")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("lack", ["a row", "an end", "a length"])
def test_a_short_file_that_lacks_something_is_refused(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    """A file that is smaller than recorded is refused if a result, its last line or its length is missing."""
    monkeypatch.setattr(api, "_SIZE_TRIES", 2)
    workflow = workbench.workflow()
    plan = "fault:content=wholenolength*9" if lack == "a length" else "fault:end=completed"
    job = workflow.wait(workbench.submit(plan), timeout=30)
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    output.recorded = 1_000_000
    if lack == "a row":
        output.data = output.data[output.data.index(b"\n") + 1 :]
    elif lack == "an end":
        output.data += output.data[:50]
    for _ in range(2):
        with pytest.raises(DownloadError, match="arrived with") as told:
            collect(workflow, job, workbench.out)
        assert "--raw" in told.value.hint
    assert not workbench.out.exists()


def test_an_invalid_line_does_not_affect_other_results(workbench: Workbench) -> None:
    """An invalid line is reported with file and line, and its request counts as missing."""
    workflow = workbench.workflow()
    job = workflow.wait(workbench.submit("fault:end=completed"), timeout=30)
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    first, second, *rest = output.data.splitlines(keepends=True)
    output.data = b"".join([BOM_UTF8, first, b"<html>" + second[6:], *rest])
    done = collect(workflow, job, workbench.out)
    assert [row["custom_id"] for row in workbench.rows()] == ["id-0", "id-2", "id-3"]
    with pytest.raises(IncompleteError) as told:
        raise_if_incomplete(done)
    assert "3 of 4 answered: 3 succeeded, 1 missing (id-1)" in str(told.value)
    assert f"file {output.id}: line 2 is not a result" in str(told.value)
    assert "--raw" in told.value.hint
    assert survey(workflow, workflow.registry.job(job.id)).rows == {1: NO_RESULT}


def test_a_second_result_is_reported(workbench: Workbench) -> None:
    """If a request has two results, one is used, and the number of the others is reported."""
    raise_if_incomplete(workbench.run("fault:rows=twice"))
    assert any(text.startswith("1 result repeats a request") for text in workbench.reporter.warnings)


@pytest.mark.parametrize("odd", ['"x": NaN, ', '"x": "\\ud83d", ', ""])
def test_a_batch_made_elsewhere_may_have_odd_requests(workbench: Workbench, odd: str) -> None:
    """The input of an adopted batch may have NaN, half of a surrogate pair, numeric ids and repeated ids."""
    workflow = workbench.workflow()
    job = workflow.wait(adopted(workbench, workflow), timeout=30)
    given = workbench.server.files[str(job.parts[0].file_id)]
    (output,) = (file for file in workbench.server.files.values() if file.purpose == "batch_output")
    given.data = given.data.replace(b"{", b"{" + odd.encode(), 1).replace(b'"id-3"', b"7").replace(b'"id-1"', b'"id-0"')
    line = output.data.splitlines(keepends=True)[0]
    output.data = b"".join(line.replace(b'"id-0"', name) for name in (b'"id-2"', b"7", b'"id-0"', b'"id-0"'))
    done = collect(workflow, job, workbench.out)
    assert done.tally.succeeded
    assert [row["custom_id"] for row in workbench.rows()] == ["id-0", "id-0", "id-2", 7]
    given.data = given.data[:-20] + b"\n"
    workbench.forget_downloads(job)
    assert collect(workflow, job, workbench.out, CollectOptions(force=True)).tally.requests == 4
    assert any("is not a request" in text for text in workbench.reporter.warnings)
