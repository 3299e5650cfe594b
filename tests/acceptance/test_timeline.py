"""The times of a job in `status`: the phases that the provider reports, the expiry of its files, and its deadline."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import inside, plain, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
PRICES = f'batch_discount = 0.5\n[providers.faulty.prices."{RUNS_ON}"]\ninput = 1.0\noutput = 4.0\n'


def iso(moment: int) -> str:
    """Return a time as `status` prints it in a pipe."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def labels(shown: str) -> list[str]:
    """Return the labels of the times that a terminal shows, in their order."""
    return re.findall(r"^(\w+(?: \w+)?) +\d\d [A-Z][a-z]{2} ", plain(shown), re.MULTILINE)


@pytest.mark.slow
def test_the_phases_of_a_job(faulty: FaultServer) -> None:
    """`status` shows the time of each phase that the provider reports, and leaves out the others."""
    now = int(time.time())
    faulty.also = {"in_progress_at": now - 50, "finalizing_at": now - 10}
    inside("submit", str(write("in.jsonl", [request("a", RUNS_ON)])), "-p", "faulty").succeeded()
    told = inside("status", "1").succeeded()
    assert (told.fields["in progress"], told.fields["finalizing"]) == (iso(now - 50), iso(now - 10))
    assert inside("status", "1", "--json").json["phases"] == {
        "in_progress": iso(now - 50),
        "finalizing": iso(now - 10),
        "cancelling": None,
    }
    assert labels(see("status", "1").out) == ["created", "sent", "in progress", "finalizing"]
    faulty.also = {"in_progress_at": None, "finalizing_at": "soon"}
    told = inside("status", "1").succeeded()
    assert not {"in progress", "finalizing", "cancelling"} & set(told.fields)


def test_the_phases_of_several_batches(faulty: FaultServer) -> None:
    """A job is in progress with its first batch, and finalizing with its last one."""
    configure("small", faulty.base_url, max_requests=1)
    now = int(time.time())
    inside("submit", str(write("in.jsonl", [request(f"r{n}", RUNS_ON) for n in range(2)])), "-p", "small").succeeded()
    first, last = faulty.batches.values()

    def phases() -> tuple[str | None, str | None]:
        told = inside("status", "1", "--json").succeeded().json["phases"]
        return told["in_progress"], told["finalizing"]

    first.also = {"in_progress_at": now - 50, "finalizing_at": now - 10}
    last.also = {"in_progress_at": now - 40}
    assert phases() == (iso(now - 50), None)
    last.also["finalizing_at"] = now - 5
    assert phases() == (iso(now - 50), iso(now - 5))
    first.also, last.also = last.also, first.also
    assert phases() == (iso(now - 50), iso(now - 5))


def test_when_the_files_expire(faulty: FaultServer) -> None:
    """`status` shows when uncollected results expire at the provider, and asks for it once."""
    inside("submit", str(write("in.jsonl", [request("a")])), "-p", "faulty").succeeded()
    assert "files expire" not in inside("status", "1").succeeded().fields
    faulty.files_expire_at = int(time.time()) + 29 * 86400 + 60
    expected = iso(faulty.files_expire_at)
    assert inside("status", "1").fields["files expire"] == expected
    asked = len(faulty.requests)
    assert inside("status", "1", "--json").json["files_expire_at"] == expected
    assert inside("ls", "--json").json[0]["files_expire_at"] == expected
    assert "(in 29 d)" in see("status", "1").out
    assert len(faulty.requests) == asked
    inside("download", "1").succeeded()
    assert "files expire" not in inside("status", "1").fields


def test_status_works_without_the_provider(faulty: FaultServer) -> None:
    """`status` of an ended job works without a key, and if the provider is down."""
    inside("submit", str(write("in.jsonl", [request("a")])), "-p", "faulty").succeeded()
    inside("wait", "1").succeeded()
    assert inside("status", "1", env={"TEST_KEY": None}).succeeded().fields["status"] == "completed"
    faulty.stop_listening()
    assert inside("status", "1").succeeded().fields["status"] == "completed"


@pytest.mark.slow
def test_the_deadline_of_a_job(faulty: FaultServer) -> None:
    """`status` shows the `--deadline` of a job, separate from the expiry of its batches."""
    with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as config:
        config.write(PRICES)
    faulty.also = {"expires_at": int(time.time()) + 86400}
    write("in.jsonl", [request("a", RUNS_ON, max_tokens=20)])
    words = ("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--deadline", "5h", "--max-cost", "5")
    before = int(time.time()) + 5 * 3600
    ran = inside(*words, "--timeout", "0s")
    assert ran.code == 124, ran.err
    told = inside("status", "1").succeeded().fields
    moment = datetime.fromisoformat(told["deadline"]).timestamp()
    assert before - 1 <= moment <= time.time() + 5 * 3600 + 1
    assert inside("status", "1", "--json").json["deadline_at"] == told["deadline"]
    assert told["deadline"] < told["expires"]
    shown = plain(see("status", "1").succeeded().out)
    assert labels(shown)[-2:] == ["expires", "deadline"]
