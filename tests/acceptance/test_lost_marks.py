"""After a lost registry, the same command finds the paid batch or stops, whatever the server shows of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import environment, inside, invoke, request, write
from support.exchange import Dropped
from support.faults import FaultServer

if TYPE_CHECKING:
    from support.exchange import Exchange, Request

RUN = ("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--force")


def lose_everything() -> None:
    """Delete the state folder, as if this were another machine with the same key."""
    shutil.rmtree(Path(environment()["OBATCH_STATE_DIR"]))


def start(plan: str = "", *words: str) -> None:
    """Run a job to its end, and delete the state of this machine."""
    write("in.jsonl", [request(f"r{n}", f"fault:{plan}") for n in range(3)])
    invoke(*RUN, *words).succeeded()
    lose_everything()


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["", "barelist", "nometadata", "barelist,oldestfirst", "nometadata,nohasmore"])
def test_the_same_command_on_another_machine_pays_once(faulty: FaultServer, shape: str) -> None:
    """On another machine, the batch is found by marks in the list, in the batch, or in its file name."""
    start(f"shape={shape}")
    invoke(*RUN).succeeded()
    assert len(faulty.batches) == 1
    assert len(faulty.uploads) == 1


@pytest.mark.parametrize("call", ["files", "batches"])
def test_a_lost_answer_does_not_hide_a_batch_of_ours(
    faulty: FaultServer, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection breaks while the marks are read, the command fails, and the next one finds the batch."""
    start(f"shape={'barelist,othername' if call == 'batches' else 'nometadata'}")
    route = FaultServer._route

    def broken(server: FaultServer, exchange: Exchange, request: Request) -> None:
        if request.method == "GET" and f"/{call}/" in request.path:
            raise Dropped
        route(server, exchange, request)

    with monkeypatch.context() as patched:
        patched.setattr(FaultServer, "_route", broken)
        for words in (("recover", "-p", "faulty"), RUN):
            inside(*words).failed(1, "cannot be reached")
    assert len(faulty.uploads) == 1
    assert "batch_2" in inside("recover", "-p", "faulty").succeeded().out
    assert len(faulty.batches) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        "nometadata",
        "barelist",
        "userlist",
        "nometadata,prefixname",
        "upperkeys,othername",
        "cutvalues",
    ],
)
def test_marks_are_found_among_other_batches(faulty: FaultServer, shape: str) -> None:
    """The batch is found among batches of other programs that also have metadata."""
    start(f"shape={shape}", "--metadata", "run=5")
    faulty.add_strangers(3)
    invoke(*RUN, "--metadata", "run=5").succeeded()
    assert len(faulty.uploads) == 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["", "lastid", "falsemore"])
def test_every_page_of_the_list_is_read(faulty: FaultServer, shape: str) -> None:
    """A batch on the second page is found, without a request for each batch of others."""
    start(f"shape={shape}")
    faulty.add_strangers(130)
    before = len(faulty.requests)
    invoke(*RUN).succeeded()
    assert len(faulty.uploads) == 1
    assert len(faulty.requests) - before < 20


@pytest.mark.slow
def test_a_clock_that_is_months_behind(faulty: FaultServer) -> None:
    """The age of a batch is measured with the provider's clock."""
    faulty.clock = -90 * 86400.0
    start("shape=nometadata")
    invoke(*RUN).succeeded()
    assert len(faulty.batches) == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--check-remote",)])
def test_a_batch_that_was_adopted_by_its_id_is_used_again(faulty: FaultServer, words: tuple[str, ...]) -> None:
    """A batch that `status BATCH` has added is used by the same command again."""
    start()
    (batch_id,) = faulty.batches
    invoke("status", batch_id, "-p", "faulty").succeeded()
    invoke(*RUN, *words).succeeded()
    assert len(faulty.batches) == 1
    assert [job["id"] for job in invoke("ls", "--json").succeeded().json] == [1]


@pytest.mark.slow
def test_marks_and_metadata_of_the_user_fit_together(faulty: FaultServer) -> None:
    """14 pairs of metadata can be sent beside the two marks; more are refused."""
    pairs = [word for n in range(14) for word in ("--metadata", f"key{n}=value")]
    start("", *pairs)
    assert len(next(iter(faulty.batches.values())).metadata) == 16
    invoke(*RUN, *pairs).succeeded()
    assert len(faulty.batches) == 1
    before = len(faulty.requests)
    invoke(*RUN, *pairs, "--metadata", "one=more").failed(2, "15 pairs of metadata", "at most 14")
    invoke(*RUN, "--metadata", "obatch_job=mine").failed(2, "obatch_job")
    assert len(faulty.requests) == before


@pytest.mark.slow
def test_a_batch_of_ours_that_fits_no_job_stops_a_new_one(faulty: FaultServer) -> None:
    """If the marks do not tell the input of a batch, nothing is sent without --again."""
    start()
    (batch,) = faulty.batches.values()
    del batch.metadata["obatch_job"]
    batch.input.name = "input.jsonl"
    assert batch.id in invoke(*RUN).failed(7, "nothing was sent", "--again").err
    invoke(*RUN).failed(7, batch.id)
    assert len(faulty.uploads) == 1
    invoke(*RUN, "--again").succeeded()
    assert len(faulty.batches) == 2


@pytest.mark.slow
def test_a_server_without_a_list_of_batches_can_be_used(faulty: FaultServer) -> None:
    """If a provider cannot list its batches, `run` warns and continues; with --check-remote it fails."""
    write("in.jsonl", [request("a", "fault:list=404*9")])
    faulty.files["warm-up"] = faulty._store("in", "x", b"", faulty._plan_of(Path("in.jsonl").read_bytes()), "batch")
    invoke(*RUN, "--check-remote").failed(6, "could not list the batches")
    told = invoke(*RUN).succeeded().err
    assert told.count("does not list its batches") == 1
    assert "`obatch status ID -p faulty` adds it first" in told
    assert len(faulty.batches) == 1
    write("in.jsonl", [request("b", "fault:list=405*9")])
    assert "does not list" not in invoke(*RUN).succeeded().err  # the warning is shown once per account


@pytest.mark.slow
def test_a_list_that_ends_too_early_is_reported_once(faulty: FaultServer) -> None:
    """If the list of batches is incomplete, the command warns before it sends, and says how to add a batch."""
    start("shape=noafter")
    (old,) = faulty.batches
    faulty.add_strangers(100)
    told = invoke("submit", "in.jsonl", "-p", "faulty").succeeded().err
    assert told.count("list ends too early: only 100 batches are shown") == 1
    assert "`obatch status ID -p faulty` adds it first" in told
    assert len(faulty.uploads) == 2
    lose_everything()
    invoke("status", old, "-p", "faulty").succeeded()
    invoke(*RUN).succeeded()
    assert len(faulty.uploads) == 2
    write("other.jsonl", [request("x")])
    assert "too early" not in invoke("submit", "other.jsonl", "-p", "faulty").succeeded().err


@pytest.mark.slow
def test_jobs_of_others_are_not_taken_over(faulty: FaultServer) -> None:
    """A new machine lists only its own jobs, not those of other machines with the same account."""
    start()
    write("other.jsonl", [request("x")])
    invoke("submit", "other.jsonl", "-p", "faulty").succeeded()
    assert len(invoke("ls", "--json").succeeded().json) == 1
    invoke(*RUN).succeeded()
    assert len(faulty.batches) == 2
    assert len(faulty.seen("GET", "/batches")) == 1 + 1  # one list per machine


@pytest.mark.slow
def test_other_limits_on_another_machine(faulty: FaultServer) -> None:
    """A batch without counts is not confused with a part of another size."""
    configure("small", faulty.base_url, max_requests=3)
    write("in.jsonl", [request(f"r{n}", "fault:steps=" + ",".join(["in_progress"] * 4)) for n in range(6)])
    invoke("submit", "in.jsonl", "-p", "small").succeeded()
    lose_everything()
    configure("narrow", faulty.base_url, max_requests=2)
    invoke("run", "in.jsonl", "-p", "narrow", "-o", "out.jsonl").succeeded()
    assert len(faulty.batches) == 2


@pytest.mark.slow
def test_rows_of_an_earlier_job_are_not_paid_again_by_themselves(faulty: FaultServer) -> None:
    """If the job with the reused answers is not found, only `retry --all` sends those rows again."""
    words = ("run", "t.csv", "-m", "m", "-p", "faulty", "-o", "out.jsonl", "--force")
    for texts in ("a\nb\n", "a\nb\nc\n"):
        Path("t.csv").write_text("text\n" + texts, encoding="utf-8")
        invoke(*words).succeeded()
    lose_everything()
    told = invoke(*words, "--retries", "2").failed(5, "1 of 3 answered", "`obatch retry 1 --all` pays for them again")
    assert "not sent again" in told.err
    assert "an earlier job" in invoke("retry").out
    assert len(faulty.batches) == 2
    invoke("retry", "--all").succeeded()
    assert len(faulty.batches) == 3
