"""Arguments of `Jobs` and `Job` of the wrong type, and arguments that may have several types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import openai_batch
from openai_batch import Jobs
from openai_batch.errors import UsageError
from openai_batch.testing import Failure, fake_provider

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_a_code_may_be_a_number_and_a_provider_an_object() -> None:
    """`retry` accepts a code as a number, and `list` accepts a `Provider` object."""
    with fake_provider(lambda _: Failure(429, "slow down")) as fake, Jobs() as jobs:
        job = jobs.submit([REQUEST], provider=fake.provider).wait()
        assert [job.retry(500), job.wait().retry([500, 429]), job.wait().retry(429)] == [0, 1, 1]
        assert [listed.id for listed in jobs.list(provider=fake.provider)] == [job.id]
