"""The options that workers are started with say what the profile says."""

from __future__ import annotations

import pytest

from openai_batch.cluster.launchers import worker_options
from openai_batch.cluster.settings import ShardSettings
from openai_batch.net.time_span import seconds


@pytest.mark.parametrize("timeout", [0.25, 1, 600, 1234567, 99_999_999.5])
def test_a_worker_gets_the_time_of_a_request(timeout: float) -> None:
    """Also a long one, which Python writes with an exponent, and in full."""
    settings = ShardSettings(store="/s", upstream=("http://127.0.0.1:8000/v1",), timeout_seconds=timeout)
    words = worker_options(settings)
    assert seconds(words[words.index("--request-timeout") + 1]) == timeout
