"""A fake provider for the tests of programs that use this package: it answers with a function, and costs nothing.

    from openai_batch.testing import fake_provider

    with fake_provider(lambda request: "good") as fake:
        labels = openai_batch.map(["fine"], model="any")
        assert fake.requests[0]["body"]["model"] == "any"

It is a real server on this machine, so `map`, `Jobs`, `Batch` and the command `obatch` work with it unchanged. With
pytest, the fixture `fake_batch_provider` is one without an `answer` function.

Holds: the server, its answers, and the fixture. May import: `providers`. Start reading at `provider.py`.
"""

from .answers import Cut, Failure, Refusal
from .provider import FakeProvider, fake_provider

__all__ = ["Cut", "Failure", "FakeProvider", "Refusal", "fake_provider"]
