"""Arguments of `Jobs` and `Job` of the wrong type, and arguments that may have several types."""

from __future__ import annotations

import asyncio
import pickle
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import openai_batch
from openai_batch import Jobs, Provider
from openai_batch.errors import BatchError, UnknownProviderError, UsageError
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY: Any = openai_batch
"""The library without types, as a program without a type checker uses it."""

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("call", "told", "hint"),
    [
        (lambda jobs: jobs.submit([REQUEST], provider=3), "provider= is 3", "the name of a provider"),
        (lambda jobs: jobs.submit([REQUEST], name=3), "name= is 3", "a text"),
        (lambda jobs: jobs.submit([REQUEST], window=24), "window= is 24", "a text"),
        (lambda jobs: jobs.submit([REQUEST], metadata=["a"]), r"metadata= is \['a'\]", "a dict"),
        (lambda jobs: jobs.submit([REQUEST], again="no"), "again= is 'no'", "True or False"),
        (lambda jobs: jobs.submit([REQUEST], max_cost="five"), "max_cost= is 'five'", "a number"),
        (lambda jobs: jobs.sample([REQUEST], "2"), "count= is '2'", "a whole number"),
        (lambda jobs: jobs.recover(3), "provider= is 3", "the name of a provider"),
        (lambda jobs: jobs.list("5"), "limit= is '5'", "a whole number"),
        (lambda jobs: jobs.list(10**30), "limit= is 1000", "a whole number"),
        (lambda jobs: jobs.submit([REQUEST], name="\ud800"), r"name= is '\\ud800'", "a text"),
        (lambda jobs: jobs.submit([REQUEST], window="\ud800"), "window= is", "a text"),
        (lambda jobs: jobs.submit([REQUEST], max_cost=-1), "max_cost= is -1", "a number"),
        (lambda jobs: jobs.submit([REQUEST], output=5), "5 is not the name of a file", "a path"),
        (lambda jobs: jobs.submit([REQUEST], output=b"x.csv"), "b'x.csv' is not the name", "a path"),
        (lambda jobs: jobs.submit("a\0b"), "is not the name of a file", "a path"),
        (lambda jobs: jobs.estimate([REQUEST], dedup="no"), "dedup= is 'no'", "True or False"),
        (lambda jobs: jobs.import_results(5, [REQUEST]), "results= is 5", "the path of a file"),
        (lambda jobs: jobs.import_results([5], [REQUEST]), "5 is not the name of a file", "a path"),
        (lambda jobs: jobs.get("\ud800"), "reference= is", "a name"),
        (lambda _: LIBRARY.attach("\ud800"), "name= is", "a text"),
        (lambda _: LIBRARY.Jobs(""), "'' is not the name of a file", "a path"),
        (lambda _: LIBRARY.map([{"a": "x"}], model="m", images=[5]), "images= is 5", "the name of a column"),
        (lambda _: LIBRARY.map(["x"], model="m", max_cost=[]), "max_cost= is", "a number"),
        (lambda _: LIBRARY.map(["x"], model="m", sample=10**30), "sample= is", "a whole number"),
        (lambda _: LIBRARY.Jobs(3), "state= is 3", "the path of a folder"),
        (lambda _: LIBRARY.Jobs(reporter=print), "reporter= is <built-in", "openai_batch.Reporter"),
        (lambda _: LIBRARY.start(["x"], model="m", reporter=print), "reporter= is", "openai_batch.Reporter"),
        (lambda _: LIBRARY.start(["x"], model="m", again="no"), "again= is 'no'", "True or False"),
        (lambda _: LIBRARY.map(["x"], model="m", provider=3), "provider= is 3", "the name of a provider"),
    ],
)
def test_a_wrong_type_is_named_before_anything_is_sent(call: Callable[[Any], Any], told: str, hint: str) -> None:
    """An argument of the wrong type is a UsageError that names it, and nothing is sent."""
    with fake_provider() as fake, Jobs() as jobs:
        with pytest.raises(UsageError, match=told) as caught:
            call(jobs)
        assert hint in caught.value.hint
        assert fake.requests == []


def test_wrong_types_of_a_job() -> None:
    """Arguments of the wrong type for methods of `Job` are errors too."""
    given: Any = "2"  # what a program without a type checker may pass
    with fake_provider(), Jobs() as jobs:
        job = jobs.submit([REQUEST]).wait()
        with pytest.raises(UsageError, match="retries= is '2'"):
            job.wait(retries=given)
        with pytest.raises(UsageError, match="deadline= is '2'"):
            job.wait_until(given, max_cost=1)
        nothing: Any = None
        for never in (nothing, datetime.min):  # noqa: DTZ901 - it is one that no clock shows
            with pytest.raises(UsageError, match="deadline= is"):
                job.wait_until(never, max_cost=1)
        for where in (5.5, b"429", True):
            with pytest.raises(UsageError, match="where= is"):
                job.retry(where)  # type: ignore[arg-type]
        with pytest.raises(UnknownProviderError):
            job.retry(provider="nope")
        assert job.wait(retries=nothing).ended
        assert asyncio.run(job.wait_async(retries=nothing)).ended
        for path in (given * 300, "a\0b", nothing):
            with pytest.raises(UsageError, match="is not the name of a file"):
                job.download(path)


def test_hints_name_arguments_and_not_options(tmp_path: Path) -> None:
    """What a program reads does not name options of the command, nor an id that no request has."""
    taken = tmp_path / "taken.html"
    taken.touch()
    with fake_provider(), Jobs() as jobs:
        job = jobs.submit([REQUEST]).wait()
        for call in (
            lambda: job.download(tmp_path),
            lambda: job.report().to_html(taken),
            lambda: jobs.import_results(taken, [REQUEST]),
            lambda: LIBRARY.map(["x"], model="m", endpoint="score"),
            lambda: LIBRARY.map(["x"], model="m", params={"messages": []}),
            lambda: LIBRARY.map(["x"], model="m", images="nope"),
            lambda: LIBRARY.map(["x"], model="m", params={"a": object()}),
            lambda: LIBRARY.map(["x"], model="m", params={"temperature": float("nan")}),
        ):
            with pytest.raises(BatchError) as caught:
                call()
            assert " -" not in f" {caught.value.hint}", caught.value.hint
            assert ":id:" not in str(caught.value)


def sent(value: Any) -> Any:
    """Return what another process gets of a value."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def test_jobs_can_be_sent_to_another_process() -> None:
    """A program with several processes gives them its jobs: each opens connections of its own."""
    with fake_provider() as fake, Jobs() as jobs:
        own = Provider(name="own", base_url=fake.base_url)
        assert own.get_client()
        job = jobs.submit([REQUEST], provider=sent(own))
        run = LIBRARY.start(["x"], model="m")
        for each in (job, run):
            assert [result.ok for result in sent(each).wait().results()] == [True]
        assert sent(jobs).get(job.id).ended


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_input_max_requests", 0),
        ("batch_input_max_bytes", -1),
        ("enqueued_tokens", "1"),
        ("endpoints", None),
        ("api_key_command", "echo key"),
        ("completion_window", None),
        ("file_purpose", None),
        ("headers", {"X": 5}),
        ("upload_fields", None),
        ("parallel", 0),
        ("parallel", 100),
        ("prices", {"*": 1}),
        ("create_timeout", 0),
        ("create_grace", "1"),
        ("create_grace", -1),
        ("output_expires_after", 5),
        ("base_url", 5),
    ],
)
def test_a_field_of_a_provider_that_cannot_be_used(field: str, value: Any) -> None:
    """It is named before anything is sent; some values were found out only after the payment."""
    with fake_provider() as fake:
        own = Provider(**{"name": "own", "base_url": fake.base_url, field: value})
        with pytest.raises(UsageError, match=f"{field} of the provider own is"):
            openai_batch.map(["x"], model="m", provider=own)
        assert fake.batches == []


def test_wrong_arguments_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are an error before anything is sent."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="provider= is 5"):
        LIBRARY.Batch(provider=5)
    with fake_provider() as fake, LIBRARY.Batch() as batch:
        batch.add_to_batch(**REQUEST)
        for wrong in (
            {"interval": "x"},
            {"timeout": "5"},
            {"timeout": -1},
            {"metadata": "x"},
            {"metadata": {"k": "\ud800"}},
        ):
            with pytest.raises(UsageError, match=f"{next(iter(wrong))}= is"):
                batch.submit_wait_download(**wrong)
        assert fake.batches == []


@pytest.mark.parametrize("seconds", [-1, "5", True, float("nan")])
def test_a_time_that_is_none(seconds: Any) -> None:
    """A time that cannot pass is an error, and no wait without an end."""
    with fake_provider(), Jobs() as jobs:
        job = jobs.submit([REQUEST])
        for wait in (
            lambda: job.wait(seconds),
            lambda: asyncio.run(job.wait_async(seconds)),
            lambda: job.wait_until(datetime.now() + timedelta(hours=9), max_cost=1, timeout=seconds),  # noqa: DTZ005
            lambda: LIBRARY.map(["x"], model="m", timeout=seconds),
        ):
            with pytest.raises(UsageError, match="timeout= is"):
                wait()


@pytest.mark.parametrize("seconds", [float("inf"), 10**400])
def test_a_time_that_never_passes(seconds: float) -> None:
    """It is the same as no time."""
    with fake_provider(), Jobs() as jobs:
        assert jobs.submit([REQUEST]).wait(seconds).ended


def test_a_code_may_be_a_number_and_a_provider_an_object() -> None:
    """`retry` accepts a code as a number, and `list` accepts a `Provider` object."""
    with fake_provider(lambda _: Failure(429, "slow down")) as fake, Jobs() as jobs:
        job = jobs.submit([REQUEST], provider=fake.provider).wait()
        assert [job.retry(500), job.wait().retry([500, 429]), job.wait().retry(429)] == [0, 1, 1]
        assert [listed.id for listed in jobs.list(provider=fake.provider)] == [job.id]
