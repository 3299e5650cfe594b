"""`obatch doctor` and `obatch providers test`: what a server supports, without paying for it."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import KEY
from support.command import inside, invoke, plain, request, see, write

if TYPE_CHECKING:
    from support.command import Result
    from support.faults import FaultServer
    from support.servers import LocalServer


def states(result: Result) -> dict[str, str]:
    """Return the state of each check."""
    return {row[0]: row[1] for row in result.rows}


def test_this_machine_is_checked_without_a_provider() -> None:
    """`doctor` checks version, configuration, folder, disk space and registry, and sends no request."""
    result = inside("doctor").succeeded()
    assert states(result) == dict.fromkeys(("version", "config", "state", "space", "registry"), "ok")
    assert "obatch doctor PROVIDER" in result.err
    env = {"HTTPS_PROXY": "http://me:secret-word@proxy.example:3128"}
    proxied = inside("doctor", env=env).succeeded()
    assert "https: proxy.example:3128" in proxied.out
    assert "secret-word" not in proxied.out + proxied.err


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("HTTPS_PROXY", "http://me:secret-word@[::1", "HTTPS_PROXY"),
        ("HTTPS_PROXY", "ftp://me:secret-word@proxy.example", "HTTPS_PROXY"),
        ("ALL_PROXY", "socks5://me:secret-word@proxy.example", "HTTPS_PROXY"),
        ("SSL_CERT_FILE", "/nope", "SSL_CERT_FILE"),
    ],
)
def test_an_unusable_proxy_or_certificate_file_is_reported(variable: str, value: str, hint: str) -> None:
    """`doctor` and `run` report it with exit code 2, without the password of the proxy."""
    Path("p.txt").write_text("Hi\n", encoding="utf-8")
    env = {variable: value, "OPENAI_API_KEY": KEY}
    for words in (["doctor", "openai"], ["run", "p.txt", "-p", "openai", "-m", "gpt-4o-mini", "-o", "out.jsonl"]):
        result = inside(*words, env=env).failed(2, "the ", hint)
        assert "secret-word" not in result.out + result.err


def test_problems_of_this_machine_are_reported(home: Path) -> None:
    """`doctor` reports a broken configuration, a folder that others can write to, and a damaged registry."""
    state = Path(os.environ["OBATCH_STATE_DIR"])
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "registry.db").write_bytes(b"SQLite format 3\x00" + b"garbage" * 500)
    result = inside("doctor")
    assert states(result)["registry"] == "failed"
    assert result.code == 1
    (state / "registry.db").unlink(missing_ok=True)
    state.chmod(0o777)
    assert states(inside("doctor"))["state"] == "failed"
    state.chmod(0o700)
    (home / "config.toml").write_text("colour = 3\n", encoding="utf-8")
    result = inside("doctor", "openai").failed(2, "unknown key 'colour'")
    assert states(result)["config"] == "failed"


@pytest.mark.slow
def test_a_server_is_checked_and_nothing_is_created(faulty: FaultServer) -> None:
    """`doctor PROVIDER` runs every check with GET requests only, and prints a profile."""
    faulty.models = ["echo-1"]
    write("in.jsonl", [request("a", "fault:range=good")])
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    before = len(faulty.requests)
    result = invoke("doctor", "faulty").succeeded()
    assert {r.method for r in faulty.requests[before:]} == {"GET"}
    wanted = ("key", "url", "models", "clock", "list", "metadata", "ranges", "limits")
    assert {name: states(result)[name] for name in wanted} == dict.fromkeys(wanted, "ok")
    assert KEY not in result.out + result.err
    quiet = inside("doctor", "faulty", "-q").succeeded()
    profile = tomllib.loads(quiet.out)["providers"]["faulty"]
    assert profile["base_url"] == faulty.base_url
    assert profile["api_key_env"] == "TEST_KEY"
    assert profile["chat_model"] == "echo-1"
    Path(os.environ["OBATCH_CONFIG"]).write_text(quiet.out, encoding="utf-8")
    assert inside("doctor", "faulty", "--json").succeeded().json["profile"] == quiet.out.rstrip("\n") + "\n"
    shown = plain(see("doctor", "faulty", columns=80).succeeded().out)
    assert "[providers.faulty]" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_settings_that_are_printed_are_those_of_the_profile(faulty: FaultServer) -> None:
    """Each setting of how a server is used is there, so that the printed table can replace the one in the file."""
    faulty.models = ["echo-1"]
    table = {
        "base_url": faulty.base_url,
        "chat_model": "echo-1",
        "allow_plain_http": True,
        "create_timeout": 30,
        "create_grace": 31,
        "enqueued_tokens": 500,
        "idempotent_create": True,
        "output_expires_after": "7d",
        "parallel": 2,
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    Path(os.environ["OBATCH_CONFIG"]).write_text(f"[providers.faulty]\n{text}", encoding="utf-8")
    printed = tomllib.loads(inside("doctor", "faulty", "-q").succeeded().out)["providers"]["faulty"]
    assert printed.items() >= table.items()


def test_a_limited_server_differs_from_a_broken_one(faulty: FaultServer) -> None:
    """A server without a list of models, or with a wrong clock, gets warnings, not errors."""
    result = inside("doctor", "faulty").succeeded()
    assert states(result)["models"] == "warning"
    assert states(result)["metadata"] == "unknown"
    faulty.models, faulty.clock = ["other"], 3600.0
    result = inside("doctor", "faulty").succeeded()
    assert states(result)["clock"] == "warning"
    assert "3,600 s ahead" in result.out or "3,599 s ahead" in result.out


@pytest.mark.slow
def test_each_fault_has_its_exit_code(faulty: FaultServer) -> None:
    """A missing key exits with 4, an unreachable server with 1, a wrong URL or an unknown provider with 6."""
    assert (
        states(inside("doctor", "faulty", env={"TEST_KEY": None}).failed(4, "TEST_KEY is not set"))["key"] == "failed"
    )
    wrong = faulty.base_url.replace("/v1", "/v2")
    inside("doctor", wrong, "--api-key-env", "TEST_KEY").failed(6, "404", "base")
    inside("doctor", "http://127.0.0.1:9/v1").failed(1, "cannot be reached")
    inside("doctor", "nobody").failed(6, "nobody")
    inside("doctor", "http://x.example/v1", "--api-key-env", "TEST_KEY").failed(2, "unencrypted")
    result = inside("doctor", "http://127.0.0.1:9/v1", "--json")
    assert [each["name"] for each in result.json["checks"] if each["state"] == "failed"] == ["url"]


def test_create_makes_one_job_that_is_cancelled(faulty: FaultServer) -> None:
    """--create sends one batch of one request, cancels it, and checks its metadata."""
    faulty.models = ["fault:steps=in_progress,in_progress,in_progress,in_progress"]
    result = inside("doctor", "faulty", "--create").succeeded()
    assert states(result)["create"] == states(result)["cancel"] == states(result)["metadata"] == "ok"
    assert "it can cost what that request costs" in result.err
    assert len(faulty.creates) == 1
    (batch,) = faulty.batches.values()
    assert batch.cancelled
    assert b'"max_tokens":1' in batch.input.data
    assert [row[3] for row in inside("ls").rows] == ["cancelled"]
    faulty.models = ["fault:steps=in_progress,in_progress,in_progress,in_progress;shape=nometadata"]
    assert states(inside("doctor", "faulty", "--create").succeeded())["metadata"] == "warning"
    assert len(faulty.creates) == 2


def test_create_without_a_clear_answer_is_a_job_too(faulty: FaultServer) -> None:
    """If the answer to the create is lost, the batch is found, and only one exists."""
    faulty.models = ["fault:create=made.reset;steps=in_progress,in_progress,in_progress"]
    result = inside("doctor", "faulty", "--create").succeeded()
    assert states(result)["create"] == "ok"
    assert len(faulty.batches) == 1


def test_create_needs_a_model(faulty: FaultServer) -> None:
    """`doctor --create` without a model is a usage error."""
    inside("doctor", "faulty", "--create").failed(2, "which model?", "-m")
    assert faulty.uploads == []


def test_the_short_form(faulty: FaultServer) -> None:
    """`providers test` only requests the list of models."""
    faulty.models = ["a", "b"]
    result = inside("providers", "test", "faulty").succeeded()
    assert states(result) == dict.fromkeys(("key", "url", "models", "clock"), "ok")
    assert [r.path for r in faulty.requests] == ["/v1/models"]
    assert inside("providers", "test", "faulty", "--json", env={"TEST_KEY": ""}).code == 4


@pytest.mark.slow
def test_the_local_provider_is_checked(real: LocalServer) -> None:
    """The server of the local provider passes the checks."""
    write("in.jsonl", [request("a")])
    inside("run", "in.jsonl", "-p", "real", "-o", "out.jsonl").succeeded()
    result = inside("doctor", "real").succeeded()
    assert states(result)["metadata"] == states(result)["ranges"] == states(result)["list"] == "ok"
    assert real.base_url in result.out


def test_the_local_provider_downloads_nothing(tmp_path: Path) -> None:
    """If the model is not on this machine, `doctor` does not start the local server."""
    env = {"OBATCH_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.environ.get("PYTHONPATH")}
    result = inside("doctor", "local", env=env)
    if "metadata" in states(result):
        pytest.skip("the model is installed as a package here")
    assert states(result.succeeded())["server"] == "unknown"
    assert not (tmp_path / "cache").exists()
