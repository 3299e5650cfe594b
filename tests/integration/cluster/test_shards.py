"""A whole job on a provider of kind `shards`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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


def test_a_time_for_results_that_a_store_does_not_have_is_refused(cluster: Cluster) -> None:
    """A store keeps results until they are deleted, so the option is an error before anything is sent."""
    words = ["run", str(cluster.prompts(3)), "-p", "cluster", "-m", "echo-1", "-o", str(cluster.folder / "a.jsonl")]
    cluster.run(*words, "--output-expires-after", "7d").failed(2, "keeps files of results until they are deleted")
    assert not cluster.asked()
