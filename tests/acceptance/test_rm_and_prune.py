"""`rm` and `prune` free space, keep results that were not collected, and cause no second payment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import Result, environment, inside, invoke, request, write

from openai_batch.jobs.store.registry import Registry

if TYPE_CHECKING:
    from support.faults import FaultServer

RUN = ("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--force")


def folders() -> list[Path]:
    """Return the folders of jobs."""
    return list((Path(environment()["OBATCH_STATE_DIR"]) / "jobs").iterdir())


def test_nothing_to_remove_is_reported_in_a_pipe_too() -> None:
    """If there is nothing to remove, `prune` prints one line to standard error; with -q it prints nothing."""
    assert inside("prune").succeeded() == Result(0, "", "nothing to remove\n")
    assert inside("prune", "-q").succeeded() == Result(0, "", "")
    assert inside("prune", "--json").succeeded().json == []
    assert "no jobs yet" in inside("ls").succeeded().err


@pytest.mark.slow
def test_a_removed_job_is_not_paid_again(faulty: FaultServer) -> None:
    """After `rm`, the same command finds the batch of the removed job, and sends nothing."""
    write("in.jsonl", [request("a"), request("b")])
    invoke(*RUN).succeeded()
    would = invoke("rm", "1", "--dry-run", "--json").succeeded().json
    assert [(each["id"], each["dry_run"]) for each in would] == [(1, True)]
    assert would[0]["bytes"] > 0
    assert folders()
    assert invoke("rm", "1", "-q").succeeded().out == "1\n"
    assert folders() == []
    assert invoke("ls", "--json").succeeded().json == []
    invoke(*RUN).succeeded()
    assert len(faulty.batches) == 1
    invoke("rm", "99").failed(6, "no job")
    invoke("rm").failed(2, "name the jobs")


@pytest.mark.slow
def test_what_was_not_collected_is_kept(faulty: FaultServer) -> None:
    """`rm` refuses jobs that run or have results to collect, but removes a job that was never sent."""
    write("in.jsonl", [request("a", "fault:steps=in_progress,in_progress")])
    invoke("submit", "in.jsonl", "-p", "faulty").succeeded()
    invoke("rm", "1", "--force").failed(1, "is still running")
    invoke("wait", "1").succeeded()
    invoke("prune", "--older-than", "0s").succeeded()
    invoke("rm", "1").failed(1, "were not collected", "obatch download 1")
    invoke("rm", "1", "--force").succeeded()
    write("never.jsonl", [request("a", "fault:upload=400")])
    assert invoke("submit", "never.jsonl", "-p", "faulty").code == 1
    assert "removed 1 job, and freed " in invoke("rm", "2").succeeded().err
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_the_index_of_a_large_file_is_pruned_with_it(faulty: FaultServer) -> None:
    """A later command uses the stored index of a result file, and `prune` deletes it."""
    write("in.jsonl", [request(f"r{n}") for n in range(4000)])
    invoke(*RUN).succeeded()
    (kept,) = folders()[0].glob("results/*.index")
    assert 0 < kept.stat().st_size < 4000 * 50
    seen = kept.stat().st_mtime_ns
    invoke("download", "1", "-o", "again.jsonl").succeeded()
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    assert kept.stat().st_mtime_ns == seen
    invoke("prune", "--older-than", "0s").succeeded()
    assert not list(folders()[0].glob("results/*"))
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_results_are_read_without_the_provider_until_they_are_pruned(faulty: FaultServer) -> None:
    """Downloaded results are not downloaded again, until `prune` deletes them."""
    write("in.jsonl", [request(f"r{n}") for n in range(20)])
    invoke(*RUN).succeeded()
    seen = len(faulty.requests)
    assert invoke("results", "1", "--as", "csv").succeeded().out.count("answer to r") == 20
    invoke("download", "1", "-o", "again.jsonl").succeeded()
    invoke("retry", "1", "--dry-run")
    assert len(faulty.requests) == seen
    assert invoke("prune", "-q").succeeded().out == ""
    assert invoke("prune", "--older-than", "0s", "--dry-run", "--json").succeeded().json[0]["bytes"] > 1000
    invoke("prune", "--older-than", "0s").succeeded()
    assert invoke("prune", "--older-than", "0s", "-q").succeeded().out == ""
    invoke("download", "1", "-o", "third.jsonl").succeeded()
    assert Path("third.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    assert len(faulty.requests) > seen
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_results_with_a_line_that_cannot_be_read_are_kept_too(faulty: FaultServer) -> None:
    """A file with an invalid line is downloaded once more; if the provider has lost it, the copy is used."""
    for name, lost in (("a", True), ("b", False)):
        write(f"{name}.jsonl", [request(f"{name}{n}", "fault:rows=garbled") for n in range(2)])
        invoke("run", f"{name}.jsonl", "-p", "faulty", "-o", f"{name}.csv").succeeded()
        kept = dict(faulty.files)
        faulty.files.clear() if lost else None
        for _ in range(2):
            told = invoke("results", "--as", "csv").succeeded()
            assert (told.out.count("answer to"), told.err.count("is not a result")) == (2, 1)
        seen = len(faulty.requests)
        invoke("results").succeeded()
        assert lost or len(faulty.requests) == seen
        faulty.files |= kept


@pytest.mark.slow
def test_the_providers_files_are_written_from_the_kept_ones(faulty: FaultServer) -> None:
    """`download --raw` sends no request if the results were collected."""
    write("in.jsonl", [request("a", "fault:rows=crlf,blank")])
    invoke(*RUN).succeeded()
    seen = len(faulty.requests)
    invoke("download", "--raw", "raw").succeeded()
    (output,) = [file.data for file in faulty.files.values() if file.purpose == "batch_output"]
    assert Path("raw/job-1-output.jsonl").read_bytes() == output
    assert len(faulty.requests) == seen


@pytest.mark.slow
def test_answers_that_other_jobs_use_are_kept(faulty: FaultServer) -> None:
    """`rm` and `prune` do not delete answers that a later job uses."""
    lines = [request("a"), request("b"), request("c")]
    write("in.jsonl", lines[:2])
    invoke(*RUN).succeeded()
    write("in.jsonl", lines)
    invoke(*RUN).succeeded()
    assert [job.skipped for job in Registry().jobs()] == [2, 0]
    invoke("rm", "1").failed(1, "job 2 uses answers of job 1", "obatch rm 2")
    invoke("prune", "--older-than", "0s").succeeded()
    faulty.files.clear()
    invoke("download", "1", "-o", "first.jsonl").failed(6, "")
    invoke("rm", "2", "1").succeeded()
