"""`fake_provider`: the Files and Batches calls of a provider, on a port of this machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError
from openai_batch.providers.config_file import write_text
from openai_batch.providers.provider import Prices, Provider

from .server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .answers import AnswerFunction

_NAME = "fake"
_PRICES = Prices(input=1.0, output=2.0)
_DISCOUNT = 0.5
_CONFIG = """[providers.fake]
base_url = "{url}"
chat_model = "fake-model"
embedding_model = "fake-model"
batch_discount = {discount}
prices."*".input = {prices.input}
prices."*".output = {prices.output}
"""


class FakeProvider:
    """A running fake provider."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.provider: Provider = Provider(
            name=_NAME,
            base_url=server.base_url,
            default_chat_model="fake-model",
            default_embedding_model="fake-model",
            prices={"*": _PRICES},
            batch_discount=_DISCOUNT,
        )
        """The profile, for programs that name a provider themselves."""

    @property
    def base_url(self) -> str:
        """Where the provider is."""
        return self._server.base_url

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Each request of each batch so far, as it was sent: `custom_id`, `url`, `body`."""
        return list(self._server.requests)

    @property
    def batches(self) -> list[dict[str, Any]]:
        """The batches so far, as the provider shows them, the oldest first: these would have been paid."""
        return list(self._server.batches.values())

    def fail(self, call: str, status: int = 500, times: int = 1, message: str = "told to fail") -> None:
        """Answer the next calls with an error.

            fake.fail("POST /batches", 503, message="too busy")

        `call` is a method and a path, such as "POST /batches", "POST /files" or "GET /batches". A path stands for all
        that begin with it. The next `times` calls get the HTTP `status` and the `message`. Raises UsageError for
        another form of these.
        """
        method, _, path = str(call).partition(" ")
        if method not in ("GET", "POST") or not path.startswith("/"):
            raise UsageError(f"call= is {call!r}", hint='give a method and a path, such as "POST /batches"')
        if not isinstance(status, int) or not isinstance(times, int):
            raise UsageError(f"status= is {status!r}, and times= {times!r}", hint="give whole numbers")
        self._server.failures += [(f"{method} {path.removeprefix('/v1')}", status, message)] * times


@contextlib.contextmanager
def fake_provider(answer: AnswerFunction | None = None, *, polls: int = 0) -> Iterator[FakeProvider]:
    """Run a provider on this machine, and make it the default one until the block ends.

        with fake_provider(lambda request: "good") as fake:
            assert map(["fine"], model="any")[0].text == "good"
            assert fake.requests[0]["body"]["model"] == "any"

    `answer` gets each request and returns its answer (`answers.result_line`); an exception that it raises becomes the
    request's error, and for None the request has no result. `polls` is the number of polls before a batch has ended.
    Inside the block OBATCH_CONFIG, OBATCH_PROVIDER and OBATCH_STATE_DIR are set, so that its jobs are separate from the
    user's own. Programs that are started there inherit this. For programs with `max_cost`, a million tokens of prompts
    cost 1 US dollar, and of answers 2; outside of a batch, twice as much. Raises UsageError for another `polls`.
    """
    if not isinstance(polls, int) or polls < 0:
        raise UsageError(f"polls= is {polls!r}", hint="give a whole number")
    # On Windows the registry of a job that the program still holds cannot be removed.
    temporary = tempfile.TemporaryDirectory(prefix="obatch-testing-", ignore_cleanup_errors=True)
    with temporary as folder, FakeServer(answer, polls) as server:
        config = Path(folder) / "config.toml"
        write_text(config, _CONFIG.format(url=server.base_url, prices=_PRICES, discount=_DISCOUNT))
        chosen = {
            "OBATCH_CONFIG": str(config),
            "OBATCH_PROVIDER": _NAME,
            "OBATCH_STATE_DIR": str(Path(folder) / "state"),
        }
        with _environment(chosen):
            yield FakeProvider(server)


@contextlib.contextmanager
def _environment(chosen: dict[str, str]) -> Iterator[None]:
    """Set these environment variables until the block ends."""
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
