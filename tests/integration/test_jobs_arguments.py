"""Arguments of `Jobs` and `Job` that are of another type than they should be, and those that may be of several."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import openai_batch
from openai_batch import Jobs
from openai_batch.errors import UsageError
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY: Any = openai_batch
"""What a program without a type checker sees."""

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
        (lambda _: LIBRARY.Jobs(3), "state= is 3", "the path of a folder"),
        (lambda _: LIBRARY.Jobs(reporter=print), "reporter= is <built-in", "openai_batch.Reporter"),
        (lambda _: LIBRARY.start(["x"], model="m", reporter=print), "reporter= is", "openai_batch.Reporter"),
        (lambda _: LIBRARY.start(["x"], model="m", again="no"), "again= is 'no'", "True or False"),
        (lambda _: LIBRARY.map(["x"], model="m", provider=3), "provider= is 3", "the name of a provider"),
    ],
)
def test_a_wrong_type_is_named_before_anything_is_sent(call: Callable[[Any], Any], told: str, hint: str) -> None:
    """It is no error from somewhere inside, and no text is taken for True."""
    with fake_provider() as fake, Jobs() as jobs:
        with pytest.raises(UsageError, match=told) as caught:
            call(jobs)
        assert hint in caught.value.hint
        assert fake.requests == []


def test_wrong_types_of_a_job() -> None:
    """The same for what is asked of a job."""
    given: Any = "2"  # what a program without a type checker gives
    with fake_provider(), Jobs() as jobs:
        job = jobs.submit([REQUEST]).wait()
        with pytest.raises(UsageError, match="retries= is '2'"):
            job.wait(retries=given)
        with pytest.raises(UsageError, match="deadline= is '2'"):
            job.wait_until(given, max_cost=1)


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
    """`retry(429)` is `retry("429")`, also in a list, and `list` takes the provider that `submit` took."""
    with fake_provider(lambda _: Failure(429, "slow down")) as fake, Jobs() as jobs:
        job = jobs.submit([REQUEST], provider=fake.provider).wait()
        assert [job.retry(500), job.wait().retry([500, 429]), job.wait().retry(429)] == [0, 1, 1]
        assert [listed.id for listed in jobs.list(provider=fake.provider)] == [job.id]
