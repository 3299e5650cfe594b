"""A batch is created at most once, whatever the answer to the create is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import ApiError, AuthError, BatchError, NotFoundError, UncertainError, UnreachableError
from openai_batch.jobs.job_spec import SubmitOptions
from openai_batch.jobs.store.records import PartState
from openai_batch.jobs.submit import start
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
    """If the answer to a create is bad but the batch exists, it is found, and the request is sent once."""
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
    """A refusal is reported at once; the same submit again uses the same job and upload."""
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
    """If it is unknown whether a batch was created, nothing is sent again without `resubmit_uncertain`."""
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
    """A refused connection is reported at once as not sent, and the same submit again continues."""
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
def test_a_listing_that_is_late_or_broken_is_retried(workbench: Workbench, listing: str) -> None:
    """A lost create is found as soon as the list shows it, within the grace period."""
    job = workbench.submit(f"fault:create=made.reset;{listing}")
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


@pytest.mark.parametrize(
    "shape",
    ["nometadata", "nofilemark", "oldestfirst", "nofilemark,oldestfirst,nohasmore", "nometadata,nofilemark"],
)
def test_either_mark_finds_the_batch(workbench: Workbench, shape: str) -> None:
    """A batch is found by its file id or by its token, in any order of the list."""
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
    """If the answer has only the id, the batch is requested, and no list is needed."""
    job = workbench.submit("fault:list=404*99;shape=onlyid")
    assert job.batch_ids == list(workbench.server.batches)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_a_refusal_that_created_a_batch_is_found_before_the_next_try(workbench: Workbench, status: int) -> None:
    """If a refused create made a batch that is listed later, the same submit adopts it."""
    spec = workbench.spec(f"fault:create=made.{status};list=lag:1")
    with pytest.raises(BatchError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec)[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_batch_without_any_mark_is_uncertain(workbench: Workbench) -> None:
    """If the provider shows neither mark, the job is uncertain, and nothing is sent again."""
    workbench.use_short_timeouts()
    with pytest.raises(UncertainError):
        workbench.submit("fault:create=made.reset;shape=nometadata,noinput")
    assert len(workbench.server.batches) == len(workbench.server.creates) == 1


@pytest.mark.slow
def test_a_create_that_is_applied_late_is_adopted(workbench: Workbench) -> None:
    """A batch that is created after the connection has closed is found within the grace period."""
    job = workbench.submit("fault:create=late:0.7")
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_the_next_run_adopts_a_batch_that_appeared_later(workbench: Workbench) -> None:
    """An uncertain job adopts its batch as soon as the provider shows it."""
    workbench.use_short_timeouts()
    spec = workbench.spec("fault:create=later")
    with pytest.raises(UncertainError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec)[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_resubmitting_adopts_a_batch_that_is_found(workbench: Workbench) -> None:
    """`resubmit_uncertain` sends nothing if the batch is found."""
    workbench.use_short_timeouts()
    spec = workbench.spec("fault:create=made.reset;list=hide")
    with pytest.raises(UncertainError):
        start(workbench.workflow(), spec)
    workbench.server.settle()
    job = start(workbench.workflow(), spec, SubmitOptions(resubmit_uncertain=True))[0]
    assert job.batch_ids == list(workbench.server.batches)
    assert len(workbench.server.creates) == 1


def test_a_create_is_retried_if_the_file_is_not_known_yet(workbench: Workbench) -> None:
    """If the provider does not know the new file yet, the create is sent again."""
    job = workbench.submit("fault:create=400:Cannot find file file-in1.")
    assert job.parts[0].state == PartState.RUNNING
    assert len(workbench.server.creates) == 2
    assert len(workbench.server.batches) == 1


@pytest.mark.parametrize("fault", ["reset:20000", "500", "503", "429:0", "made.reset", "made.500", "made.cut"])
def test_an_upload_is_retried_and_one_batch_is_made(workbench: Workbench, fault: str) -> None:
    """A failed upload is sent again from the start, and one batch is created from it."""
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
    """A refused upload is reported; a redirect is not followed, and the hint names its host."""
    with pytest.raises(error) as told:
        start(workbench.workflow(), workbench.spec(f"fault:upload={fault}", requests=3000))
    assert workbench.server.strays == []
    assert len(workbench.server.uploads) == 1
    assert workbench.server.creates == []
    if fault.startswith("3"):
        assert "127.0.0.1" in told.value.hint


def test_the_uploaded_name_is_neutral_and_ends_in_jsonl(workbench: Workbench) -> None:
    """The uploaded file name does not contain the user's, and ends in .jsonl as some providers require."""
    workbench.submit("fault:end=completed")
    (file,) = workbench.server.files.values()
    assert file.name.startswith("obatch-")
    assert file.name.endswith(".jsonl")
    assert "in.jsonl" not in file.name
