"""`ls --remote` lists the batches at the provider, and `prune --remote` deletes files there that have a copy here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, plain, request, see, write

from openai_batch.jobs.store import job_folder
from openai_batch.jobs.store.registry import Registry

from .conftest import configure

if TYPE_CHECKING:
    from support.faults import FaultServer


def run(name: str, plan: str = "fault:") -> None:
    """Run a file of two requests."""
    write(f"{name}.jsonl", [request(f"{name}{n}", plan) for n in range(2)])
    inside("run", f"{name}.jsonl", "-p", "faulty", "-o", f"{name}.out")


def deleted(server: FaultServer) -> list[str]:
    """Return the ids of the files that the provider was asked to delete."""
    return [each.path.rpartition("/")[2] for each in server.seen("DELETE", "/files/.*")]


@pytest.mark.slow
def test_batches_at_the_provider_are_listed(faulty: FaultServer) -> None:
    """`ls --remote` prints each batch with its job; a pipe gets all of them, a terminal the newest."""
    run("a")
    faulty.add_strangers(120)
    rows = inside("ls", "--remote", "-p", "faulty").succeeded().rows
    assert [row[7] for row in rows] == [""] * 120 + ["1"]
    assert rows[-1][:6] == [*Registry().jobs()[0].batch_ids, "faulty", "completed", "2", "2", ""]
    found = inside("ls", "--remote", "--json").succeeded().json
    assert [(each["job"], each["ours"]) for each in (found[0], found[-1])] == [(None, False), (1, True)]
    assert len(inside("ls", "--remote", "--last", "3", "-q").out.split()) == 3
    assert len(faulty.seen("GET", "/batches")[-1].query["limit"]) == 1
    shown = plain(see("ls", "--remote", "--last", "2", columns=80).out).splitlines()[-2:]
    assert [line.split()[-1] for line in shown] == ["none", "none"]
    assert max(map(len, shown)) <= 80
    inside("rm", "1").succeeded()
    assert "not here" in see("ls", "--remote", "--all").out
    assert len(Registry().jobs()) == 0
    inside("ls", "--remote", "--status", "failed").failed(2, "--remote goes with")


@pytest.mark.slow
def test_a_provider_that_fails_does_not_hide_the_others(faulty: FaultServer) -> None:
    """Without -p a provider that cannot be reached is a warning, with -p an error."""
    run("a")
    configure("gone", "http://127.0.0.1:9/v1")
    told = inside("ls", "--remote").succeeded()
    assert len(told.rows) == 1
    assert "warning: gone: " in told.err
    assert inside("ls", "--remote", "-p", "gone").code == 1
    assert faulty.strays == []


def test_files_are_deleted_at_the_provider(faulty: FaultServer) -> None:
    """Input, output and error files are deleted once, and later commands use the copies here."""
    run("a", "fault:rows=mixed")
    (job,) = Registry().jobs()
    files = [job.parts[0].file_id, job.parts[0].output_file_id, job.parts[0].error_file_id]
    assert all(files)
    would = inside("prune", "--remote", "1", "--dry-run").succeeded()
    assert would.rows == [["1", "", "faulty", " ".join(map(str, files))]]
    assert "would delete 3 files of 1 job" in would.err
    assert deleted(faulty) == []
    assert inside("prune", "--remote", "--json").succeeded().json == []  # the job has just ended
    assert inside("prune", "--remote", "1", "--json").succeeded().json[0]["files"] == files
    assert deleted(faulty) == files
    assert faulty.files == {}
    inside("prune", "--older-than", "0s").succeeded()
    asked = len(faulty.requests)
    first = Path("a.out").read_bytes()
    assert inside("download", "1", "-o", "again.out").code == 5
    assert Path("again.out").read_bytes() == first
    assert inside("results", "1").code == 5
    assert "nothing to delete" in inside("prune", "--remote", "1").succeeded().err
    assert len(faulty.requests) == asked
    inside("retry", "1", "--all").succeeded()
    inside("download", "1", "-o", "again.out").succeeded()
    assert len(inside("prune", "--remote", "--older-than", "0s").succeeded().rows[0][3].split()) > 1
    assert len(deleted(faulty)) == len(set(deleted(faulty)))


def test_uploads_of_refused_batches_are_deleted_too(faulty: FaultServer) -> None:
    """Files of failed batches, and of uploads without a batch, are deleted."""
    run("a", "fault:end=failed")
    write("b.jsonl", [request("b", "fault:create=400")])
    assert inside("submit", "b.jsonl", "-p", "faulty").code == 1
    inside("prune", "--remote", "2").failed(1, "job 2 is still not_sent")
    inside("cancel", "2").succeeded()
    assert [row[0] for row in inside("prune", "--remote", "--older-than", "0s").succeeded().rows] == ["2", "1"]
    assert faulty.files == {}


def test_results_without_a_copy_here_are_not_deleted(faulty: FaultServer) -> None:
    """Files of running jobs, of results without a copy, and of other programs are not deleted."""
    write("a.jsonl", [request("a")])
    inside("submit", "a.jsonl", "-p", "faulty").succeeded()
    inside("prune", "--remote", "1").failed(1, "job 1 is still")
    inside("wait", "1").succeeded()
    inside("prune", "--remote", "1").failed(1, "were not collected", "obatch download 1")
    inside("download", "1", "-o", "a.out").succeeded()
    inside("prune", "--older-than", "0s").succeeded()
    inside("prune", "--remote", "1").failed(1, "not kept here any more", "obatch download 1 --force")
    inside("prune", "--remote", "--older-than", "0s").succeeded()
    faulty.add_strangers(1)
    inside("status", "batch_theirs0", "-p", "faulty").succeeded()
    inside("prune", "--remote", "batch_theirs0").failed(1, "was not created by obatch")
    inside("prune", "1").failed(2, "a JOB goes with --remote only", "obatch rm JOB")
    assert deleted(faulty) == []
    inside("download", "1", "-o", "a.out", "--force").succeeded()
    inside("prune", "--remote", "1").succeeded()
    assert len(deleted(faulty)) == 2


@pytest.mark.slow
def test_an_interrupted_deletion_continues(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a deletion is interrupted, `prune` keeps the copies, and the next `prune --remote` deletes the files."""
    run("a")
    (job,) = Registry().jobs()
    faulty.files.pop(str(job.parts[0].file_id))  # as if it had been deleted before the kill
    monkeypatch.setenv("TEST_KEY", "sk-other")
    faulty.stop_listening()
    assert inside("prune", "--remote", "1").code == 1
    inside("prune", "--older-than", "0s").succeeded()
    assert job_folder.kept_results(Registry().jobs()[0]) == []
    assert list((job_folder.folder_of(job) / job_folder.RESULTS).iterdir())
    faulty.listen_again()
    assert len(inside("prune", "--remote", "1").succeeded().rows[0][3].split()) == 2
    assert faulty.files == {}


def test_a_provider_that_deletes_nothing_is_reported(faulty: FaultServer) -> None:
    """If the provider answers 404 for a file that still exists, the command fails."""
    run("a", "fault:shape=nodelete")
    inside("prune", "--remote", "1").failed(1, "does not delete files")
    assert len(faulty.files) == 2
    assert "warning: job 1" in inside("prune", "--remote", "--older-than", "0s").succeeded().err
