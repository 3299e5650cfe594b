"""`obatch providers` and `obatch config`, and errors in a configuration."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import KEY
from support.command import inside, invoke, plain, request, see, write

from openai_batch.cli.completion_scripts import read_commands
from openai_batch.providers import get_provider_by_name

if TYPE_CHECKING:
    from support.faults import FaultServer


def config(text: str) -> Path:
    """Write the configuration file."""
    path = Path(os.environ["OBATCH_CONFIG"])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_providers_are_listed_with_the_state_of_their_keys() -> None:
    """`providers` shows whether the key of each provider is set, but not the key."""
    result = invoke("providers", env={"PARASAIL_API_KEY": KEY}).succeeded()
    keys = {row[0]: row[2] for row in result.rows}
    assert keys["parasail"] == "PARASAIL_API_KEY is set"
    assert keys["openai"] == "OPENAI_API_KEY is not set"
    assert keys["local"] == "not needed"
    assert KEY not in result.out
    assert "parasail" in invoke("providers", "-q").succeeded().out.splitlines()
    assert {record["name"] for record in invoke("providers", "--json").succeeded().json} == set(keys)
    assert "200,000,000" in plain(see("providers", columns=160).succeeded().out)


@pytest.mark.slow
def test_a_provider_is_added_and_used(faulty: FaultServer) -> None:
    """`providers add` appends a profile that the next command can use, and keeps the rest of the file."""
    path = Path(os.environ["OBATCH_CONFIG"])
    before = path.read_text(encoding="utf-8") + "# a remark\n"
    path.write_text(before, encoding="utf-8")
    added = invoke("providers", "add", "acme", "--base-url", faulty.base_url, "--api-key-env", "TEST_KEY").succeeded()
    assert added.err.endswith("hint: obatch submit FILE -p acme\n")
    assert path.read_text(encoding="utf-8").startswith(before)
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "acme").succeeded()
    assert faulty.creates[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["acme", "--base-url", "ftp://x/v1"], "is not an http(s) URL"),
        (["acme", "--base-url", "https://me:secret@x/v1"], "user name or password"),
        (["acme", "--base-url", "http://api.example.com/v1", "--api-key-env", "K"], "unencrypted"),
        (["two words", "--base-url", "https://x/v1"], "is not a valid provider name"),
        (["taken", "--base-url", "https://x/v1"], "already a [providers.taken]"),
        (["acme", "--base-url", "https://x/v1", "--api-key-env", "OPENAI_API_KEY"], "OPENAI_API_KEY is OpenAI's key"),
        (["acme", "--base-url", "https://x/v1", "--max-requests", "-1"], "max_requests must be"),
        (["acme", "--base-url", "https://x/v1", "--max-requests", "0"], "max_requests must be"),
        (["acme", "--base-url", "https://x/v1", "--max-bytes", "0"], "max_bytes must be"),
        (["acme", "--base-url", "https://x/v1", "--api-key-env", ""], "--api-key-env is empty"),
        (["acme", "--base-url", "https://x/v1", "--api-key-keyring", ""], "--api-key-keyring is empty"),
    ],
)
def test_a_bad_provider_is_not_added(words: list[str], message: str) -> None:
    """A profile that is not valid, or that would leak a key, is refused, and the file is not changed."""
    path = config('[providers.taken]\nbase_url = "https://taken.example/v1"\n')
    before = path.read_bytes()
    result = invoke("providers", "add", *words).failed(2, message)
    assert "secret" not in result.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[providers.acme\n", "not valid TOML", "fix"),
        ('[providers.local]\nmodel_path = "C:\\data\\m.gguf"\n', "not valid TOML", "single quotes"),
        ('[providers.acme]\nbase_url = "https://x/v1"\nmax_request = 3\n', "unknown key 'max_request'", "max_requests"),
        ('[providers.acme]\nbase_url = "https://x/v1"\napi_key = "sk-1"\n', "keys do not belong", "api_key_env"),
        ("[providers.acme]\nmodels = []\n", "base_url is missing", "base_url ="),
        ('[providers.acme]\nbase_url = "https://x/v1"\nmax_requests = "3"\n', "whole number above 0", "config path"),
        ("provder = 'openai'\n", "unknown key 'provder'", "provider"),
        ("provider = 'opnai'\n", "'opnai' is not known", "did you mean openai?"),
        ("providers = 3\n", "must be tables", "[providers.NAME]"),
    ],
)
def test_a_broken_configuration_is_named(text: str, message: str, hint: str) -> None:
    """An error in the configuration is reported with its file and key and a hint, and the command stops."""
    path = config(text)
    for words in (["providers"], ["config", "show"], ["check", "in.jsonl"]):
        write("in.jsonl", [request("a")])
        result = invoke(*words).failed(2, message, hint)
        assert str(path) in result.err
        assert "sk-1" not in result.err


def test_paths_follow_the_environment(home: Path) -> None:
    """`config path` prints the paths from the overrides, or from the XDG folders, and creates none of them."""
    assert invoke("config", "path").succeeded().fields["config"] == str(home / "config.toml")
    env = {"OBATCH_CONFIG": None, "OBATCH_STATE_DIR": None, "XDG_CONFIG_HOME": "/x/c", "XDG_STATE_HOME": "/x/s"}
    fields = invoke("config", "path", "--json", env=env).succeeded().json
    assert fields["config"] == "/x/c/obatch/config.toml"
    assert fields["registry"] == "/x/s/obatch/registry.db"
    assert not Path("/x").exists()


@pytest.mark.slow
def test_the_default_provider_comes_from_flag_environment_file(faulty: FaultServer) -> None:
    """-p takes precedence over OBATCH_PROVIDER, and that over the file; `config show` prints the origin."""
    path = Path(os.environ["OBATCH_CONFIG"])
    path.write_text('provider = "faulty"\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert invoke("config", "show", "--json").succeeded().json["provider"] == {"value": "faulty", "origin": str(path)}
    env = {"OBATCH_PROVIDER": "parasail"}
    assert invoke("config", "show", "--json", env=env).succeeded().json["provider"]["origin"] == "OBATCH_PROVIDER"
    write("in.jsonl", [request("a")])
    assert "within the limits of faulty" in invoke("check", "in.jsonl").succeeded().err
    assert "within the limits of Parasail" in invoke("check", "in.jsonl", env=env).succeeded().err
    assert "within the limits of OpenAI" in invoke("check", "in.jsonl", "-p", "openai", env=env).succeeded().err
    assert faulty.requests == []


@pytest.mark.slow
def test_the_key_is_nowhere_but_in_requests(faulty: FaultServer, home: Path) -> None:
    """The key is in no output and no file after a job; a refused key exits with code 4."""
    write("in.jsonl", [request("a")])
    results = [invoke("run", "in.jsonl", "-p", "faulty", env={"OBATCH_DEBUG": "1"})]
    results += [invoke("status", "--json"), invoke("config", "show", "--json"), invoke("providers", "--json")]
    write("bad.jsonl", [request("a", "fault:upload=401")])
    results.append(invoke("run", "bad.jsonl", "-p", "faulty").failed(4, "said 401", "TEST_KEY"))
    assert all(KEY not in result.out + result.err for result in results)
    for path in [*home.rglob("*"), *Path().rglob("*")]:
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert faulty.batches


@pytest.mark.slow
def test_a_key_from_a_command(faulty: FaultServer) -> None:
    """The key that a command prints is used; if the command fails, the exit code is 4 and the error names it."""
    config(f'[providers.acme]\nbase_url = "{faulty.base_url}"\napi_key_command = ["echo", "sk-printed"]\n')
    write("in.jsonl", [request("a")])
    invoke("submit", "in.jsonl", "-p", "acme").succeeded()
    assert faulty.creates[0].headers["authorization"] == "Bearer sk-printed"
    config(f'[providers.acme]\nbase_url = "{faulty.base_url}"\napi_key_command = ["false"]\n')
    invoke("submit", "in.jsonl", "-p", "acme", "--again").failed(4, "'false' failed", "by hand")
    config(f'[providers.acme]\nbase_url = "{faulty.base_url}"\napi_key_command = ["no-such-program"]\n')
    invoke("submit", "in.jsonl", "-p", "acme", "--again").failed(4, "No such file", "by hand")
    assert len(faulty.creates) == 1


def test_the_local_providers_default_model_can_be_set() -> None:
    """`chat_model` in the profile sets the default model of the local provider."""
    Path(os.environ["OBATCH_CONFIG"]).write_text(
        '[providers.local]\nupstream = "http://127.0.0.1:9/v1"\nchat_model = "my-model"\n', encoding="utf-8"
    )
    line = json.loads(invoke("prepare", "-", "-p", "local", stdin="hello\n").succeeded().out)
    assert line["body"]["model"] == "my-model"


def test_upstreams_are_shown_as_in_the_file() -> None:
    """Upstreams are shown as TOML that can be copied into a file."""
    tables = [
        {"url": "http://127.0.0.1:9/v1", "key_env": "SOME_KEY", "concurrency": 3},
        {"url": "http://127.0.0.1:8/v1"},
    ]
    config(
        '[[providers.local.upstream]]\nurl = "http://127.0.0.1:9/v1"\nkey_env = "SOME_KEY"\nconcurrency = 3\n'
        '[[providers.local.upstream]]\nurl = "http://127.0.0.1:8/v1"\n'
    )
    for command in (["config", "show"], ["providers", "show", "local"]):
        (line,) = [line for line in invoke(*command).succeeded().out.splitlines() if "127.0.0.1" in line]
        shown = line.partition("\t")[2].removesuffix(" (from the file)")
        assert tomllib.loads(f"upstream = [{shown}]")["upstream"] == tables


def test_a_key_that_a_cluster_does_not_know() -> None:
    """An unknown key in the profile of a cluster is an error that suggests the nearest key."""
    table = '[providers.cluster]\nkind = "shards"\nstore = "/s"\nupstream = "http://127.0.0.1:9/v1"\n'
    config(f'{table}api_key_evn = "SOME_KEY"\n')
    invoke("providers").failed(2, "unknown key 'api_key_evn'", "did you mean api_key_env?")


def test_the_local_limits_are_the_clients_too() -> None:
    """The limits of the local server also apply to the client."""
    path = Path(os.environ["OBATCH_CONFIG"])
    path.write_text("[providers.local]\nmax_requests = 3\nmax_bytes = 5000\n", encoding="utf-8")
    limits = get_provider_by_name("local").limits
    assert (limits.max_requests, limits.max_bytes) == (3, 5000)


ANYWHERE = {"config", "config path", "config edit", "help", "worker"}
"""The commands that do not need a valid configuration."""

ARGUMENTS = {
    "check": "in.jsonl",
    "export": "in.jsonl -o out.parquet",
    "import": "out.jsonl --input in.jsonl",
    "config set": "provider openai",
    "config unset": "provider",
    "cost": "in.jsonl",
    "prepare": "prompts.txt -m m",
    "providers add": "acme --base-url https://acme.example/v1",
    "providers rm": "acme",
    "providers show": "openai",
    "providers test": "openai",
    "rm": "1",
    "run": "in.jsonl -p openai",
    "sample": "in.jsonl",
    "stats": "in.jsonl",
    "submit": "in.jsonl",
}


@pytest.mark.parametrize("words", sorted({each.name for each in read_commands() if each.name} - ANYWHERE))
def test_a_broken_configuration_stops_every_command(words: str) -> None:
    """Every command that needs the configuration stops if it is broken; the error names the file and the line."""
    path = config("provider = \n")
    write("in.jsonl", [request("a")])
    write("prompts.txt", ["a prompt"])
    told = inside(*words.split(), *ARGUMENTS.get(words, "").split()).failed(
        2, f"{path}: not valid TOML", "obatch config edit"
    )
    assert "line 1" in told.err
    assert path.read_text(encoding="utf-8") == "provider = \n"
