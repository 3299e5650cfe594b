"""`Batch` with the local provider, whose server is started by the first call."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.servers import echo_upstream

from openai_batch import Batch, get_provider_by_name
from openai_batch.local import launch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def upstream() -> Iterator[None]:
    """Configure the local provider with an echo as its upstream, and stop its server afterwards."""
    with echo_upstream(models=False) as echo:
        Path(os.environ["OBATCH_CONFIG"]).write_text(
            f'[providers.local]\nupstream = "{echo.base_url}"\n', encoding="utf-8"
        )
        try:
            yield
        finally:
            launch.stop()


def test_a_batch_runs_here_and_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A local batch needs no account, does not wait for a long interval, and is found by its id."""
    with Batch(provider=get_provider_by_name("local")) as batch:
        for text in ("one", "two"):
            batch.add_to_batch(model="any", messages=[{"role": "user", "content": text}])
        result, output, error = batch.submit_wait_download(interval=60)
    assert (result.status, error) == ("completed", None)
    lines = [json.loads(line) for line in Path(output).read_bytes().splitlines()]
    assert sorted(line["custom_id"] for line in lines) == ["line-1", "line-2"]
    assert capsys.readouterr().out.splitlines()[-1] == "completed"
    resumed = Batch(batch_id=batch.batch_id)
    assert resumed.status().status == "completed"
    assert resumed.provider is not None
    assert resumed.provider.name == "local"
