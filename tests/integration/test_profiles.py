"""Which host gets a key, which provider serves a model, and errors in the configuration."""

from __future__ import annotations

import argparse
import stat
from typing import TYPE_CHECKING, Any

import pytest

from openai_batch.batch.provider_arguments import provider_of
from openai_batch.errors import ApiError, AuthError, ConfigError, UnknownProviderError, UsageError
from openai_batch.providers import (
    get_provider_by_base_url,
    get_provider_by_model,
    get_provider_by_name,
    known_providers,
    pick_provider,
)
from openai_batch.providers.builtin import is_openai_model
from openai_batch.providers.builtin_names import BUILT_IN_NAMES, KEY_VARIABLES
from openai_batch.providers.client import sdk_model_names
from openai_batch.providers.config import load
from openai_batch.providers.config_edit import add_profile
from openai_batch.providers.config_file import MAX_BYTES
from openai_batch.providers.openai_api import OpenAIBatchApi
from openai_batch.providers.provider import Provider, normal_url

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

ACME = '[providers.acme]\nbase_url = "https://api.acme.example/v1"\n'


@pytest.fixture
def config(home: Path) -> Path:
    """Return the path of the test's configuration file."""
    return home / "config.toml"


def test_without_a_file_the_built_in_profiles_stand_alone(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration there are only built-in profiles; a file that OBATCH_CONFIG names must exist."""
    config.unlink()
    with pytest.raises(ConfigError, match=r"OBATCH_CONFIG names .*, and there is no such file"):
        load()
    monkeypatch.delenv("OBATCH_CONFIG")
    assert tuple(load().profiles) == BUILT_IN_NAMES
    assert not config.exists()


def test_a_profile_in_the_file(config: Path) -> None:
    """Every key of a profile is read."""
    config.write_text(
        'provider = "acme"\n' + ACME + 'display_name = "Acme"\napi_key_env = "ACME_KEY"\nmodels = ["acme/*"]\n'
        'endpoints = ["/v1/embeddings"]\nchat_model = "c"\nembedding_model = "e"\none_model = false\nmax_requests = 5\n'
        'max_bytes = 6\nmax_line_bytes = 7\nenqueued_tokens = 8\ncompletion_window = "1h"\nfile_purpose = "p"\n'
        "create_timeout = 1\ncreate_grace = 2.5\nidempotent_create = true\n"
        'status_map = { done = "completed" }\nheaders = { X-A = "b" }\n'
    )
    acme = load().profiles["acme"]
    assert load().default_provider == "acme"
    limits = acme.limits
    assert (limits.max_requests, limits.max_bytes, limits.max_line_bytes, limits.one_model) == (5, 6, 7, False)
    assert (acme.api_key_env_var, acme.endpoints, acme.completion_window) == ("ACME_KEY", ("/v1/embeddings",), "1h")
    assert (acme.create_timeout, acme.create_grace, acme.idempotent_create) == (1.0, 2.5, True)
    assert (acme.status_map, acme.headers) == ({"done": "completed"}, {"X-A": "b"})
    assert pick_provider(None, "gpt-4o").name == "acme"
    assert pick_provider("openai", "acme/x").name == "openai"


OFF: list[tuple[str, str]] = [
    ("provider = 'nobody'", "not known"),
    ("porvider = 'openai'", "porvider"),
    ("providers = 7", "tables"),
    ("[providers.acme]", "base_url"),
    ("[providers]\nacme = 1", "table"),
    (ACME + 'api_key = "sk-secret"', "keys do not belong"),
    (ACME + "bas_url = 'x'", "bas_url"),
    (ACME + "max_requests = 0", "max_requests"),
    (ACME + "max_requests = true", "max_requests"),
    (ACME + "max_bytes = 1.5", "max_bytes"),
    (ACME + "one_model = 1", "one_model"),
    (ACME + "models = 'x'", "models"),
    (ACME + "headers = { a = 1 }", "headers"),
    (ACME + 'headers = { Authorization = "Basic abc" }', r"headers: Authorization contains a key"),
    (ACME + 'headers = { "X-Api-Key" = "short" }', r"headers: X-Api-Key contains a key"),
    (ACME + 'headers = { "x-auth-token" = "short" }', r"headers: x-auth-token contains a key"),
    (ACME + 'headers = { "X-Anything" = "sk-0123456789abcdef0" }', r"headers: X-Anything contains a key"),
    (ACME + 'headers = { "X-Anything" = "Bearer abc" }', r"headers: X-Anything contains a key"),
    (ACME + 'headers = { "api-key" = "env:OPENAI_API_KEY" }', "OPENAI_API_KEY is OpenAI's key"),
    ('[providers.acme]\nbase_url = "http://a.example"\nheaders = { "api-key" = "env:K" }', "unencrypted"),
    ("a" + ".a" * 20_000 + " = 1", "line 1 has more than 1,000 dots"),
    ("x = 1\ny = " + "[" * 30_000, "not valid TOML"),
    ("x = 1\ny = " + "{a=" * 10_000, "not valid TOML"),
    (ACME + "create_grace = -1", "create_grace"),
    (ACME + "create_timeout = inf", "create_timeout"),
    (ACME + "create_grace = 1e300", "create_grace"),
    (ACME + 'api_key_env = "sk-secret-0123456789"', "api_key_env must be the name of an environment variable"),
    (ACME + 'headers = { "api-key" = "env:sk-secret-0123456789" }', "api-key must name an environment variable"),
    (ACME + 'api_key_command = ["echo", "sk-secret0123456789"]', "api_key_command contains a key"),
    (ACME.replace("/v1", "/v1?key=secret"), "base_url contains a query"),
    (ACME.replace("/v1", "/v1#secret"), "base_url contains a query"),
    (ACME + "display_name = ''", "display_name"),
    (ACME.replace("https", "ftp"), "not an http"),
    (ACME.replace("https://", ""), "not an http"),
    (ACME.replace("https://", "https://me:secret@"), "user name"),
    (ACME + 'api_key_env = "OPENAI_API_KEY"', "OpenAI's key"),
    (ACME.replace("https", "http") + 'api_key_env = "ACME_KEY"', "unencrypted"),
    (ACME.replace("api.acme.example", "openai.com.evil.example") + 'api_key_env = "OPENAI_API_KEY"', "OpenAI's key"),
    ("[[[", "TOML"),
    ("x = " + "[" * 5000, "TOML"),
    ("# " + "x" * 70_000, "bytes"),
]


@pytest.mark.parametrize(("text", "words"), OFF)
def test_a_configuration_fault_names_its_file(config: Path, text: str, words: str) -> None:
    """An error in the configuration names the file and the problem, and does not show a key."""
    config.write_text(text)
    with pytest.raises(ConfigError, match=words) as told:
        load()
    assert str(config) in str(told.value)
    assert told.value.code == 2
    assert "secret" not in f"{told.value}{told.value.hint}"


def test_a_file_that_is_not_utf8_is_reported(config: Path) -> None:
    """Invalid UTF-8 is an error; a byte order mark is accepted."""
    config.write_bytes(ACME.encode() + b"# \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load()
    config.write_bytes(b"\xef\xbb\xbf" + ACME.encode())
    assert "acme" in load().profiles


def test_the_key_given_comes_first_then_the_environment_then_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order is: given key, variable, command. White space around a key is removed."""
    command = ("printf", "%s", " from-command\n")
    profile = Provider(name="acme", base_url="https://x/v1", api_key_env_var="ACME_KEY", api_key_command=command)
    assert profile.resolve_key() == "from-command"
    monkeypatch.setenv("ACME_KEY", "from-env\n")
    assert profile.resolve_key() == "from-env"
    profile.api_key = "given"
    assert profile.resolve_key() == "given"
    monkeypatch.setenv("ACME_KEY", "  ")
    profile.api_key = None
    assert profile.resolve_key() == "from-command"


@pytest.mark.parametrize("key", ["two words", "käse", "tab\there", "line\nbreak", "\x1b[2J"])
def test_an_invalid_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A key that cannot be sent in a header is an AuthError, without the key."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(AuthError) as told:
        get_provider_by_name("openai").resolve_key()
    assert key not in str(told.value)
    assert told.value.code == 4


def test_a_missing_key_names_its_variable() -> None:
    """The hint for a missing key names its variable."""
    for name in ("openai", "parasail", "groq"):
        with pytest.raises(AuthError) as told:
            get_provider_by_name(name).resolve_key()
        assert KEY_VARIABLES[name] in told.value.hint
    assert get_provider_by_name("local").resolve_key() is None


@pytest.mark.parametrize("command", [("/no/such/program",), ("false",), ("true",), ("printf", "\\377\\376")])
def test_a_failing_key_command_is_reported(command: tuple[str, ...]) -> None:
    """A key command that fails or prints nothing valid is an AuthError."""
    with pytest.raises(AuthError, match=r"api_key_command|no key"):
        Provider(name="acme", base_url="https://x/v1", api_key_command=command).resolve_key()


def test_openais_key_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch, workbench: Workbench) -> None:
    """The key, organization and project of OpenAI are not sent to another host, whatever the profile's name is."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    monkeypatch.setenv("PARASAIL_API_KEY", "psk")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    base = f'base_url = "{workbench.server.base_url}"\n'
    tables = {"acme": "", "openai": "", "parasail": 'api_key_env = "PARASAIL_API_KEY"\n'}
    text = "".join(f"[providers.{name}]\n{base}{more}" for name, more in tables.items())
    (workbench.home / "config.toml").write_text(text)
    for name in tables:
        api = OpenAIBatchApi(get_provider_by_name(name))
        assert list(api.batches()) == []
        api.close()
    keys = [request.headers.get("authorization") for request in workbench.server.requests]
    assert keys == [None, None, "Bearer psk"]
    assert "mine" not in str([request.headers for request in workbench.server.requests])


def test_openais_key_goes_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in profile of OpenAI uses OPENAI_API_KEY."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    client = get_provider_by_name("openai").get_client()
    assert (client.api_key, str(client.base_url)) == ("sk-of-openai", "https://api.openai.com/v1/")
    client.close()


def test_no_key_of_a_profile_goes_to_another_base_url(config: Path) -> None:
    """`-p NAME --base-url URL` at another host does not use the key sources of NAME."""
    for source in ('api_key_command = ["echo", "sk-1"]', 'api_key_keyring = "acme"', 'headers = { "X-Key" = "env:K" }'):
        config.write_text(f'[providers.acme]\nbase_url = "https://acme.example/v1"\n{source}\n')
        words = {"provider": "acme", "api_key": None}
        there = provider_of(argparse.Namespace(**words, base_url="https://acme.example/v1/"))
        assert there is not None
        assert there.needs_key or there.headers
        other = provider_of(argparse.Namespace(**words, base_url="https://other.example/v1"))
        assert other is not None
        assert (other.needs_key, other.headers) == (False, {})


def test_a_key_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repr of a profile does not show its key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-thing")
    provider = get_provider_by_name("openai")
    assert provider.api_key == "sk-secret-thing"
    assert "secret" not in f"{provider!r}{provider}{known_providers()!r}"


def test_a_profile_can_be_added_and_the_rest_stays(config: Path) -> None:
    """`add_profile` keeps the rest of the file; an existing name or an invalid profile changes nothing."""
    config.write_text("# mine\n" + ACME)
    add_profile("other", {"base_url": "https://o.example/v1", "api_key_env": "O_KEY"})
    text = config.read_text()
    assert text.startswith("# mine\n" + ACME)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert load().profiles["other"].api_key_env_var == "O_KEY"
    tables: list[tuple[str, dict[str, Any]]] = [("acme", {"base_url": "https://x/v1"}), ("bad", {"base": 1})]
    for name, table in tables:
        with pytest.raises(ConfigError):
            add_profile(name, table)
    assert config.read_text() == text


def test_every_model_that_the_sdk_names_is_openais() -> None:
    """Every model name in the SDK, and its fine-tunes, go to OpenAI."""
    names = sdk_model_names()
    assert len(names) > 50
    assert [name for name in names if not is_openai_model(name)] == []
    assert [name for name in names if not is_openai_model(f"ft:{name}:me::1")] == []


@pytest.mark.parametrize(
    "model", ["gpt-6-mini", "gpt-4o-mini-2024-07-18", "o5", "o4-mini-deep-research", "omni-moderation-latest", "sora-2"]
)
def test_openais_families(model: str) -> None:
    """Newer models of OpenAI are recognized by their family."""
    assert get_provider_by_model(model).name == "openai"


@pytest.mark.parametrize(
    "model",
    [
        *("gpt-oss-20b", "openai/gpt-oss-120b", "meta-llama/Llama-3-8B", "gpt2", "gptq-llama", "olmo-7b", "o1js"),
        *("ft:meta-llama/x", "mistral-7b", "deepseek-r1", "whisper-large", "dalle-mini", "", "GPT-4o"),
    ],
)
def test_other_models_are_not_openais(model: str) -> None:
    """Names that look similar go to the default provider."""
    assert get_provider_by_model(model).name == "parasail"


def test_a_pattern_in_the_file_comes_first(config: Path) -> None:
    """`models` of a profile in the file takes precedence over the families."""
    config.write_text(ACME + 'models = ["gpt-4o*", "acme/*"]')
    assert get_provider_by_model("gpt-4o-mini").name == "acme"
    assert get_provider_by_model("acme/x").name == "acme"
    assert get_provider_by_model("gpt-5").name == "openai"
    assert get_provider_by_model("SmolLM2-135M-Instruct").name == "local"


def test_base_urls_are_compared_by_host_and_path(config: Path) -> None:
    """Base URLs are compared without letter case of the host and trailing slashes."""
    config.write_text(ACME)
    for url in ("https://api.acme.example/v1", "https://API.acme.example/v1/", "https://api.acme.example/v1//"):
        assert get_provider_by_base_url(url).name == "acme"
    for url in ("https://api.acme.example.evil/v1", "http://api.acme.example/v1", "https://api.acme.example/v2"):
        assert get_provider_by_base_url(url).name is None
    assert normal_url("HTTPS://A/b/") == "https://a/b"


def test_an_unknown_provider_lists_the_known_ones() -> None:
    """The hint for an unknown provider lists the known ones."""
    with pytest.raises(UnknownProviderError) as told:
        get_provider_by_name("nobody")
    assert "parasail" in told.value.hint
    with pytest.raises(UsageError):
        pick_provider(None, None)


def test_profiles_are_copies() -> None:
    """Changing a profile does not change later copies of it."""
    get_provider_by_name("groq").headers["x"] = "y"
    get_provider_by_name("groq").base_url = "https://evil.example"
    assert "x" not in get_provider_by_name("groq").headers
    assert get_provider_by_name("groq").base_url == "https://api.groq.com/openai/v1"
    assert MAX_BYTES == 65536


def test_a_key_in_a_header_comes_from_a_variable(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:NAME` in a header is replaced by the variable, which must be set."""
    workbench.configure()
    with (workbench.home / "config.toml").open("a") as config:
        config.write('headers = { "x-api-key" = "env:HEADER_KEY" }\n')
    with pytest.raises(AuthError, match="HEADER_KEY is not set"):
        workbench.api().make_ready()
    monkeypatch.setenv("HEADER_KEY", "header-canary-0123456789")
    api = workbench.api()
    assert list(api.batches()) == []
    assert workbench.server.requests[-1].headers["x-api-key"] == "header-canary-0123456789"
    api.close()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x-plan", "plan-canary-01234567", "you sent plan-canary-01234567"),
        ("x-plan", "plan-canary-12345678", f"{'.' * 490} plan-canary-12345678"),
        ("authorization", "Basic basic-canary-0123456789", "you sent basic-canary-0123456789"),
    ],
)
def test_a_key_in_a_header_is_in_no_message(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """If the server repeats a key from a header, the error does not show it, even if the message is cut there."""
    monkeypatch.setenv("HEADER_KEY", value)
    workbench.configure()
    with (workbench.home / "config.toml").open("a") as config:
        config.write(f'headers = {{ "{name}" = "env:HEADER_KEY" }}\n')
    job = workbench.submit(f"fault:poll=400:{words}")
    api = workbench.api()
    with pytest.raises(ApiError, match="said 400") as refused:
        api.get(str(job.parts[0].batch_id))
    assert "canary" not in f"{refused.value} {get_provider_by_name('faulty')!r}"
    assert "plan-c" not in str(refused.value)
    api.close()


def test_a_profile_shows_no_header() -> None:
    """The repr of a profile does not show headers, which may contain a key."""
    assert "canary" not in repr(Provider(base_url="https://x.example", headers={"x-key": "canary"}))
