"""A whole job on a provider of kind `shards`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Cluster


def test_a_job_from_prompts_to_answers(cluster: Cluster) -> None:
    """`run` sends the input to the store, workers answer it, and each request is sent once."""
    output = cluster.folder / "answers.jsonl"
    done = cluster.run("run", str(cluster.prompts(35)), "-p", "cluster", "-m", "echo-1", "-o", str(output))
    done.succeeded()
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == 35
    assert all(line["response"]["status_code"] == 200 for line in lines)
    assert set(cluster.asked().values()) == {1}
    assert len(cluster.objects("parts")) == 4
    assert not cluster.objects("journal")
    assert not cluster.objects("workers")


@pytest.mark.slow
def test_nothing_of_a_removed_job_is_left(cluster: Cluster) -> None:
    """`rm` removes the locks and logs of its workers too, and those of no other job."""
    for count in (3, 4):
        words = ["-p", "cluster", "-m", "echo-1", "-o", str(cluster.folder / f"{count}.jsonl")]
        cluster.run("run", str(cluster.prompts(count)), *words).succeeded()
    workers = cluster.folder / "state/workers"
    kept = json.loads(cluster.run("status", "1", "--json").succeeded().out)["batch_ids"]
    assert len(list(workers.iterdir())) == 2
    cluster.run("rm", "2", "--dry-run").succeeded()
    assert len(list(workers.iterdir())) == 2
    cluster.run("rm", "2").succeeded()
    assert [folder.name for folder in workers.iterdir()] == kept


def test_a_time_for_results_that_a_store_does_not_have_is_refused(cluster: Cluster) -> None:
    """A store keeps results until they are deleted, so the option is an error before anything is sent."""
    words = ["run", str(cluster.prompts(3)), "-p", "cluster", "-m", "echo-1", "-o", str(cluster.folder / "a.jsonl")]
    cluster.run(*words, "--output-expires-after", "7d").failed(2, "keeps files of results until they are deleted")
    assert not cluster.asked()
