"""Every example of the README and of docs/ runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from support.model import Model
from support.pages import ROOT, Page, short_folder
from support.servers import echo_upstream
from support.stores import s3_server

from openai_batch.testing.server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_EXAMPLES = {"api.md", "architecture.md", "cli.md", "dependencies.md", "promises.md"}
"""Pages whose blocks are generated, or that are for contributors."""

PAGES = [ROOT / "README.md", *sorted(path for path in ROOT.glob("docs/**/*.md") if path.name not in NO_EXAMPLES)]
WITH_EXAMPLES = [
    path for path in PAGES if re.search("^```(?:console|python|toml)", path.read_text("utf-8"), re.MULTILINE)
]


@pytest.fixture
def upstream() -> Iterator[str]:
    """Run a server that answers the requests of the local provider."""
    with echo_upstream(models=False) as echo:
        try:
            yield echo.base_url
        finally:
            from openai_batch.local import launch

            launch.stop()


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_page_run(path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str) -> None:
    """The files of a page are written, and its commands and programs print the output that the page shows."""
    with short_folder() as folder, FakeServer(Model(), polls=0) as server, contextlib.ExitStack() as stack:
        if "s3://my-bucket" in path.read_text("utf-8"):
            store = stack.enter_context(s3_server())
            store.make_bucket("my-bucket")
            for name, value in store.env.items():
                monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("OBATCH_CONFIG", str(folder / "obatch.toml"))
        replaced = {"http://127.0.0.1:8000/v1": upstream, "https://api.acme.example/v1": server.base_url}
        assert Page(path, server, replaced).run()
