"""The routes behave as `openapi.json` describes them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.servers import local_server

from openai_batch.local.app import Routes

if TYPE_CHECKING:
    from support.servers import EchoUpstream

DESCRIPTION = Path(__file__).with_name("openapi.json")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


def test_every_route_is_described() -> None:
    """The description has exactly the routes of the server, except for those that are forwarded to the upstream."""
    described = {
        (method.upper(), path)
        for path, operations in json.loads(DESCRIPTION.read_text(encoding="utf-8"))["paths"].items()
        for method in operations
        if method != "parameters"
    }
    own = {
        (method, route.path.replace(":path", ""))
        for route in Routes.__new__(Routes).routes()  # without a store and an upstream
        for method in route.methods or ()
        if method != "HEAD" and route.endpoint.__name__ != "forward"
    }
    assert described == own


@pytest.mark.slow
def test_generated_requests_cause_no_server_error(tmp_path: Path, echo: EchoUpstream) -> None:
    """Valid and invalid requests that are generated from the description get the documented answers, never a 500."""
    with local_server(tmp_path, upstream=echo.base_url) as server:
        url = server.base_url.removesuffix("/v1")
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(DESCRIPTION), "--url", url]
        command += ["-H", f"Authorization: Bearer {server.token}", "--generation-deterministic", "--no-color"]
        command += ["--max-examples", "5", "--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout
        assert re.search(r"Tested: 16\b", done.stdout), done.stdout
        assert "Traceback" not in server.log
