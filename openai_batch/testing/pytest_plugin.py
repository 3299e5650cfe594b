"""The pytest fixture `fake_batch_provider`. pytest finds it automatically when this package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .provider import FakeProvider


@pytest.fixture
def fake_batch_provider() -> Iterator[FakeProvider]:
    """Run a fake provider for the length of a test, as the default one (see `openai_batch.testing.fake_provider`)."""
    from .provider import fake_provider

    with fake_provider() as fake:
        yield fake
