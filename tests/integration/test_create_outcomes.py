"""A batch is created at most once, whatever becomes of the answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, UncertainError, UnreachableError
from openai_batch.jobs.store.records import PartState
from openai_batch.jobs.submit import start
from openai_batch.jobs.submit_options import SubmitOptions
from openai_batch.providers.attempt import Attempt, new_token

if TYPE_CHECKING:
    from support.workbench import Workbench

LOST = (
    *("made.reset", "made.close", "made.hang", "made.garbage", "made.html", "made.string", "made.empty", "made.cut"),
    *(
        "made.deep",
        "made.500",
        "made.502",
        "made.503",
        "made.408",
        "made.409",
        "made.302",
        "made.307",
        "made.wrongfile",
    ),
)
REFUSED = (
    ("400:the file is bad", ApiError),
    ("401", AuthError),
    ("403", AuthError),
    ("404", NotFoundError),
    ("413", ApiError),
    ("415", ApiError),
    ("422", ApiError),
    ("429", ApiError),
    ("429:30", ApiError),
    ("429:3600", ApiError),
    ("429:-5", ApiError),
    ("429:nan", ApiError),
    ("429:1e999", ApiError),
    ("429:Mon, 23 Nov 2037 10:00:00 GMT", ApiError),
    ("429:Mon, 23 Nov 99999 10:00:00 GMT", ApiError),
)
NOT_MADE = ("reset", "close", "hang", "500", "502", "408", "409", "302", "307", "html", "empty")


@pytest.mark.parametrize("fault", LOST)
def test_a_created_batch_is_adopted_after_any_answer(workbench: Workbench, fault: str) -> None:
    """A batch that was created behind a bad answer is found by looking, and the request is sent once."""
    if fault == "made.hang":
        workbench.use_short_timeouts()
    job = workbench.submit(f"fault:create={fault}")
    (batch,) = workbench.server.batches.values()
    assert job.parts[0].state == PartState.RUNNING
    assert job.batch_ids == [batch.id]
    assert len(workbench.server.creates) == 1
    assert workbench.server.strays == []


@pytest.mark.parametrize(("fault", "error"), REFUSED)
def test_a_refusal_created_nothing_and_may_be_tried_again(
    workbench: Workbench, fault: str, error: type[BatchError]
) -> None:
    """A refusal is told at once; the same order again uses the same job and the same upload."""
    spec = workbench.spec(f"fault:create={fault}")
    with pytest.raises(error) as told:
        start(workbench.workflow(), spec)
    assert len(workbench.server.creates) == 1
    assert "canary" not in str(told.value)
    (job,) = workbench.workflow().registry.jobs()
    assert job.parts[0].state == PartState.UPLOADED
    again, new = start(workbench.workflow(), spec)
    assert not new
    assert again.id == job.id
    assert again.parts[0].state == PartState.RUNNING
    assert len(workbench.server.creates) == 2
    assert len(workbench.server.uploads) == len(workbench.server.batches) == 1


@pytest.mark.parametrize("fault", NOT_MADE)
def test_an_answer_that_proves_nothing_stops_as_uncertain(workbench: Workbench, fault: str) -> None:
    """What may or may not have been created is never sent again unasked, in this run or in the next."""
    workbench.use_short_timeouts()
    spec = workbench.spec(f"fault:create={fault}")
    for _ in range(2):
        with pytest.raises(UncertainError) as told:
            start(workbench.workflow(), spec)
        assert told.value.code == 7
        assert "--resubmit-uncertain" in told.value.hint
    assert len(workbench.server.creates) == 1
    assert workbench.server.batches == {}
    (job,) = workbench.workflow().registry.jobs()
    assert job.parts[0].state == PartState.CREATING
    job = start(workbench.workflow(), spec, SubmitOptions(resubmit_uncertain=True))[0]
    assert job.parts[0].state == PartState.RUNNING
    assert len(workbench.server.creates) == 2
    assert len(workbench.server.batches) == len(workbench.server.uploads) == 1


def test_a_refused_connection_created_nothing(workbench: Workbench) -> None:
    """With nobody listening nothing left: the error is told at once, and the same order again goes on."""
    spec = workbench.spec("fault:upload=deaf")
    with pytest.raises(UnreachableError) as told:
        start(workbench.workflow(), spec)
    assert not told.value.sent
    (job,) = workbench.workflow().registry.jobs()
    assert job.parts[0].state == PartState.UPLOADED
    workbench.server.listen_again()
    assert start(workbench.workflow(), spec)[0].parts[0].state == PartState.RUNNING
    assert len(workbench.server.uploads) == len(workbench.server.creates) == 1


@pytest.mark.parametrize(
    "listing",
    ["list=lag:0.6", "list=500*3", "list=401", "list=html", "list=reset*3", "shape=noafter", "shape=nohasmore"],
)
def test_a_listing_that_is_late_or_broken_is_asked_again(workbench: Workbench, listing: str) -> None:
    """A lost create is found as soon as the listing shows it, within the grace period."""
    job = workbench.submit(f"fault:create=made.reset;{listing}")
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


@pytest.mark.parametrize(
    "shape",
    ["nometadata", "nofilemark", "oldestfirst", "nofilemark,oldestfirst,nohasmore", "nometadata,nofilemark"],
)
def test_either_mark_finds_the_batch(workbench: Workbench, shape: str) -> None:
    """The uploaded file's id or the token in the metadata is enough, in any order of the listing."""
    api = workbench.api()
    for _ in range(3):
        with workbench.write(f"fault:shape={shape}", name="x.jsonl").open("rb") as handle:
            file = api.upload(handle, "x.jsonl")
        api.create(Attempt(file.id, "/v1/chat/completions", "24h", new_token(), time.time()))
    api.close()
    strangers = set(workbench.server.batches)
    job = workbench.submit(f"fault:create=made.reset;shape={shape}")
    assert set(job.batch_ids) == set(workbench.server.batches) - strangers


def test_an_answer_with_the_id_alone(workbench: Workbench) -> None:
    """The batch itself is asked for, and no list is needed."""
    job = workbench.submit("fault:list=404*99;shape=onlyid")
    assert job.batch_ids == list(workbench.server.batches)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_a_refusal_that_created_a_batch_is_found_before_the_next_try(workbench: Workbench, status: int) -> None:
    """If the list shows the batch only after the error was reported, the same command still does not send it again."""
    spec = workbench.spec(f"fault:create=made.{status};list=lag:1")
    with pytest.raises(BatchError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec)[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_batch_without_any_mark_is_uncertain(workbench: Workbench) -> None:
    """Where a provider shows neither mark, nothing is guessed and nothing is sent again."""
    workbench.use_short_timeouts()
    with pytest.raises(UncertainError):
        workbench.submit("fault:create=made.reset;shape=nometadata,noinput")
    assert len(workbench.server.batches) == len(workbench.server.creates) == 1


@pytest.mark.slow
def test_a_create_that_is_applied_late_is_adopted(workbench: Workbench) -> None:
    """A batch that appears after the connection has gone is waited for within the grace period."""
    job = workbench.submit("fault:create=late:0.7")
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_the_next_run_adopts_what_appeared_after_the_last_one_gave_up(workbench: Workbench) -> None:
    """An uncertain job becomes certain as soon as the provider shows the batch, and nothing is sent twice."""
    workbench.use_short_timeouts()
    spec = workbench.spec("fault:create=later")
    with pytest.raises(UncertainError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec)[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_asking_to_resubmit_still_adopts_what_is_found(workbench: Workbench) -> None:
    """Permission to send anew is not used where looking finds the batch."""
    workbench.use_short_timeouts()
    spec = workbench.spec("fault:create=made.reset;list=hide")
    with pytest.raises(UncertainError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec, SubmitOptions(resubmit_uncertain=True))[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_file_that_is_not_seen_yet_is_tried_again(workbench: Workbench) -> None:
    """The one refusal that passes by itself, an upload not yet seen everywhere, does not stop the job."""
    job = workbench.submit("fault:create=400:Cannot find file file-in1.")
    assert job.parts[0].state == PartState.RUNNING
    assert len(workbench.server.creates) == 2
    assert len(workbench.server.batches) == 1


@pytest.mark.parametrize("fault", ["reset:20000", "500", "503", "429:0", "made.reset", "made.500", "made.cut"])
def test_an_upload_is_tried_again_and_one_batch_is_made(workbench: Workbench, fault: str) -> None:
    """Uploads cost nothing: a lost one is sent anew from its front, and what arrives is whole."""
    spec = workbench.spec(f"fault:upload={fault}", requests=300)
    try:
        job = start(workbench.workflow(), spec)[0]
    except ApiError:
        job = start(workbench.workflow(), spec)[0]
    (batch,) = workbench.server.batches.values()
    assert batch.input.data == spec.batch_file.path.read_bytes()
    assert job.batch_ids == [batch.id]


@pytest.mark.parametrize(
    ("fault", "error"), [("401", AuthError), ("413", ApiError), ("307", ApiError), ("302", ApiError)]
)
def test_a_refused_upload_is_reported_and_sent_nowhere_else(
    workbench: Workbench, fault: str, error: type[BatchError]
) -> None:
    """A refusal in the midst of an upload is told; a redirect is not followed, and its host is named."""
    with pytest.raises(error) as told:
        start(workbench.workflow(), workbench.spec(f"fault:upload={fault}", requests=3000))
    assert workbench.server.strays == []
    assert len(workbench.server.uploads) == 1
    assert workbench.server.creates == []
    if fault.startswith("3"):
        assert "127.0.0.1" in told.value.hint


def test_the_uploaded_name_is_neutral_and_ends_in_jsonl(workbench: Workbench) -> None:
    """The user's file name stays here; what is sent ends in .jsonl, as some providers insist."""
    workbench.submit("fault:end=completed")
    (file,) = workbench.server.files.values()
    assert file.name.startswith("obatch-")
    assert file.name.endswith(".jsonl")
    assert "in.jsonl" not in file.name
