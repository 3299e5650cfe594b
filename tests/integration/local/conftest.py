"""An echo upstream and a server in front of it, shared by tests that do not change them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.servers import EchoUpstream, LocalServer, echo_upstream, local_server

from openai_batch.files.locks import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import OpenAI


@pytest.fixture(scope="session", autouse=True)
def _posix() -> None:
    """Skip on systems on which the local provider does not run."""
    if WINDOWS:
        pytest.skip("the local provider does not run on Windows")


@pytest.fixture(scope="session")
def echo() -> Iterator[EchoUpstream]:
    """An upstream that echoes."""
    with echo_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def server(echo: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A local server in front of the echo upstream."""
    folder = tmp_path_factory.mktemp("server")
    with local_server(folder, upstream=echo.base_url, max_requests=5000, max_tries=2) as running:
        yield running


@pytest.fixture
def client(server: LocalServer) -> Iterator[OpenAI]:
    """The OpenAI client of the shared server."""
    with server.client() as made:
        yield made
