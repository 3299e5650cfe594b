"""Which providers are asked for a batch if only its id is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compat.stub import running

from openai_batch import Batch, NotFoundError

if TYPE_CHECKING:
    from compat.stub import Stub


def test_users_profiles_are_asked_too(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """All providers with a key are asked, including the user's own, and each gets its own key."""
    with running() as mine:
        mine.batches["batch_9"] = {"id": "batch_9", "object": "batch", "status": "completed", "good": [], "bad": []}
        with Path(os.environ["OBATCH_CONFIG"]).open("a", encoding="utf-8") as config:
            config.write(f'[providers.mine]\nbase_url = "{mine.base_url}"\napi_key_env = "MY_KEY"\n')
        monkeypatch.setenv("MY_KEY", "my-key")
        batch = Batch(batch_id="batch_9")
        assert batch.status().status == "completed"
        assert batch.provider is not None
        assert batch.provider.name == "mine"
        assert {call.headers["authorization"] for call in mine.calls} == {"Bearer my-key"}
        assert {call.headers["authorization"] for call in stub.calls} == {"Bearer test-key-1"}


def test_a_key_command_is_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with a key command is asked only if no other provider has the batch."""
    with running() as first, running(statuses=["failed"]) as last:
        last.batches["batch_9"] = {"id": "batch_9", "object": "batch", "status": "failed", "good": [], "bad": []}
        Path(os.environ["OBATCH_CONFIG"]).write_text(
            f'[providers.a]\nbase_url = "{last.base_url}"\napi_key_command = ["printf", "from-a-command"]\n'
            f'[providers.b]\nbase_url = "{first.base_url}"\napi_key_env = "MY_KEY"\n',
            encoding="utf-8",
        )
        monkeypatch.setenv("MY_KEY", "my-key")
        batch = Batch(batch_id="batch_9")
        assert batch.status().status == "failed"
        assert len(first.calls) == 1
        assert last.calls[0].headers["authorization"] == "Bearer from-a-command"


@pytest.mark.usefixtures("stub")
def test_an_unknown_batch_error_names_the_providers_asked() -> None:
    """The message is the same as in 0.3.4, and the hint shows what each provider answered."""
    with pytest.raises(ValueError, match="Could not auto-detect provider for batch ID nope") as caught:
        Batch(batch_id="nope").status()
    assert isinstance(caught.value, NotFoundError)
    assert "404" in caught.value.hint
