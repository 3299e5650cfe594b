"""`--output-expires-after`: each request that creates a batch says how long its results are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.command import inside, request, write

from openai_batch import Batch, Jobs
from openai_batch.jobs.store.registry import Registry
from openai_batch.providers import get_provider_by_name
from openai_batch.providers.openai_api import OpenAIBatchApi

from .conftest import configure

if TYPE_CHECKING:
    from support.faults import FaultServer
    from support.servers import LocalServer

WEEK = {"anchor": "created_at", "seconds": 7 * 86400}


def asked(server: FaultServer) -> list[object]:
    """Return the `output_expires_after` of each request that created a batch."""
    return [json.loads(each.body).get("output_expires_after") for each in server.creates]


def test_every_create_sends_the_expiry(faulty: FaultServer) -> None:
    """The time is also sent after a lost answer and in a retry, if those commands do not name it."""
    configure("hasty", faulty.base_url, create_timeout=0.5, create_grace=0.1)
    write("in.jsonl", [request(name, "fault:create=500;rows=mixed") for name in "ab"])
    words = ("submit", "in.jsonl", "-p", "hasty")
    inside(*words, "--output-expires-after", "7d").failed(7, "unknown whether")
    inside(*words, "--resubmit-uncertain").succeeded()
    told = inside(*words, "--output-expires-after", "1d").succeeded()
    assert "keeps its results as long as it said then" in told.err
    assert inside("wait").code == 5
    inside("retry", "--all").succeeded()
    assert asked(faulty) == [WEEK, WEEK, WEEK]
    assert len(Registry().jobs()) == 1
    write("plain.jsonl", [request("a")])
    inside("submit", "plain.jsonl", "-p", "hasty").succeeded()
    assert asked(faulty)[3:] == [None]


def test_profiles_and_programs_send_the_expiry(faulty: FaultServer) -> None:
    """The time in the profile is used by `submit`, `Jobs` and `Batch`, unless another one is given."""
    configure("short", faulty.base_url, output_expires_after="2h")
    hours = WEEK | {"seconds": 7200}
    write("in.jsonl", [request("a", "fault:")])
    inside("submit", "in.jsonl", "-p", "short").succeeded()
    with Jobs() as jobs:
        jobs.submit([request("c")], provider="short", output_expires_after="7d")
    Batch("in.jsonl", provider=get_provider_by_name("short")).submit()
    assert asked(faulty) == [hours, WEEK, hours]


def test_a_time_that_no_provider_accepts_is_refused(faulty: FaultServer) -> None:
    """A time outside of the allowed range is an error that gives the range, and nothing is sent."""
    write("in.jsonl", [request("a")])
    words = ("submit", "in.jsonl", "-p", "faulty", "--output-expires-after")
    inside(*words, "5m").failed(2, "files of results cannot be kept for 5m", "from 1h to 30d")
    inside(*words, "soon").failed(2, "'soon' is not a time span")
    configure("long", faulty.base_url, output_expires_after="31d")
    inside(*words[:3], "long").failed(2, "[providers.long] output_expires_after: ", "from 1h to 30d")
    assert faulty.requests == []


@pytest.mark.slow
def test_the_local_server_sets_the_expiry_of_results(real: LocalServer) -> None:
    """The local provider's server gives the output file the requested expiry."""
    write("in.jsonl", [request("kept-for-two-hours")])
    inside("run", "in.jsonl", "-p", "real", "-o", "out.jsonl", "--output-expires-after", "2h").succeeded()
    (part,) = Registry().jobs()[0].parts
    api = OpenAIBatchApi(get_provider_by_name("real"))
    file = api.file(str(part.output_file_id))
    api.close()
    assert file.expires_at is not None
    assert file.created_at is not None
    assert 7190 < file.expires_at - file.created_at < 7210
    assert real
