"""Which host gets a key, which provider serves a model, and errors in the configuration."""

from __future__ import annotations

import argparse
import stat
from typing import TYPE_CHECKING, Any

import pytest

from openai_batch.batch.provider_arguments import provider_of
from openai_batch.errors import ApiError, AuthError, ConfigError, UnknownProviderError, UsageError
from openai_batch.local.engine import model_names
from openai_batch.providers import (
    get_provider_by_base_url,
    get_provider_by_model,
    get_provider_by_name,
    known_providers,
    pick_provider,
)
from openai_batch.providers.batch_info import read_batch
from openai_batch.providers.builtin import BUILT_IN, is_openai_model
from openai_batch.providers.builtin_names import BUILT_IN_NAMES, KEY_VARIABLES
from openai_batch.providers.client import sdk_model_names
from openai_batch.providers.config import load
from openai_batch.providers.config_edit import add_profile
from openai_batch.providers.config_file import MAX_BYTES, local_settings
from openai_batch.providers.openai_api import OpenAIBatchApi
from openai_batch.providers.provider import Provider, normal_url

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

ACME = '[providers.acme]\nbase_url = "https://api.acme.example/v1"\n'

CLUSTER = '[providers.c]\nkind = "shards"\nstore = "/shared/s"\n'


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
    (ACME + 'chat_model = " "', "chat_model must be a string that is not empty"),
    (ACME + "create_timeout = 0", "create_timeout must be a number of seconds above 0"),
    (ACME + 'create_timeout = "90m"', "create_timeout must be a number of seconds above 0"),
    (ACME + 'endpoints = ["v1/embeddings"]', "endpoints must be a list of paths"),
    (ACME + 'status_map = { ended = "complete" }', "status_map: 'ended' cannot mean 'complete'"),
    (ACME + 'upload_fields = { purpose = "x" }', "upload_fields: 'purpose'"),
    (ACME + 'headers = { "X Y" = "a" }', "headers: 'X Y' has characters"),
    (ACME + 'headers = { "X-Y" = " a " }', "headers: 'X-Y' has characters"),
    (ACME + 'headers = { "Content-Length" = "5" }', "headers: Content-Length is set for each request"),
    (ACME + 'api_key_command = [""]', "api_key_command is not a command"),
    (ACME + 'api_key_command = ["pass", "a\\u0000"]', "api_key_command is not a command"),
    ("notify = ['cmd:say \"x']", "entry 1 of notify: a quote has no end"),
    ('notify = ["slack"]', "entry 1 of notify is not known"),
    ('notify = ["bell", "env:sk-secret"]', "entry 2 of notify is not known"),
    ("[providers.local]\nconcurency = 3", r"\[providers.local\] unknown key 'concurency'"),
    (
        "[providers.local]\nidle_seconds = 0",
        r"\[providers.local\] idle_seconds must be a number of seconds, at least 1",
    ),
    ("[providers.local]\ntimeout_seconds = 0", "timeout_seconds must be a number of seconds above 0"),
    ("[providers.local]\nmax_output_tokens = 0", "max_output_tokens = 0 leaves no room for an answer"),
    ("[providers.local]\nmax_output_tokens = -2", "max_output_tokens must be a whole number up to 1,000,000, or -1"),
    ("[providers.local]\nmax_output_tokens = 10_000_000_000", "max_output_tokens must be a whole number up to"),
    ("[providers.local]\ncontext = 10_000_000_000", "context must be a whole number from 1 to 1,000,000"),
    ("[providers.local]\nslots = 10_001", "slots must be a whole number from 1 to 10,000"),
    ("[providers.local]\nconcurrency = 1_000_000", "concurrency must be a whole number from 1 to 10,000"),
    ('[providers.local]\nupstream = "gpu"', r"\[providers.local\] the upstream 'gpu' is not a base URL"),
    (CLUSTER, r"\[providers.c\] the workers need either an upstream or an engine"),
    (CLUSTER + 'engine = ["vllm"]\nlauncher = "ray"', r"\[providers.c\] launcher = 'ray' needs an address"),
    (CLUSTER + 'engine = ["vllm"]\ncompletion_window = "soon"', r"\[providers.c\] completion_window"),
    (CLUSTER + 'engine = ["vllm"]\ntask_options = { a = 2026-01-01 }', r"\[providers.c\] task_options"),
    (
        CLUSTER.replace("/shared", "shared") + 'engine = ["vllm"]',
        r"\[providers.c\] store 'shared/s' is a relative path",
    ),
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


def test_a_header_of_ones_own_leaves_the_key_of_the_built_in_profile(config: Path) -> None:
    """A table adds to the one of the built-in profile; a header with a key takes the place of the key there."""
    key = {"api-key": "env:AZURE_OPENAI_API_KEY"}
    place = '[providers.azure]\nbase_url = "https://mine.openai.azure.com/openai/v1"\nheaders = '
    for given, expected in (
        ('{ "X-Team" = "blue" }', key | {"X-Team": "blue"}),
        ('{ "API-Key" = "env:MINE" }', {"API-Key": "env:MINE"}),
        ('{ "Authorization" = "env:MINE" }', {"Authorization": "env:MINE"}),
    ):
        config.write_text(place + given)
        assert load().profiles["azure"].headers == expected
    config.write_text(place.replace("azure.com", "azure.com.example") + '{ "X-Team" = "blue" }')
    assert load().profiles["azure"].headers == {"X-Team": "blue"}
    config.write_text('[providers.together]\nupload_fields = { team = "blue" }')
    assert load().profiles["together"].upload_fields == {"file_name": "{name}", "team": "blue"}


def test_a_status_word_is_mapped_in_any_case(config: Path) -> None:
    """A batch's word is compared in lower case, whatever case the file has."""
    config.write_text(ACME + 'status_map = { "All  Done" = "completed" }\n')
    profile = load().profiles["acme"]
    assert read_batch({"id": "batch_1", "status": "ALL DONE"}, profile.status_map).status == "completed"


def test_the_limits_of_the_local_provider_are_those_of_its_server(config: Path) -> None:
    """What the command accepts, the server does; a key changes both."""
    for text in ("", "[providers.local]\nmax_requests = 5\nmax_bytes = 6\nmax_line_bytes = 7\n"):
        config.write_text(text)
        limits, settings = load().profiles["local"].limits, local_settings()
        assert limits.max_requests == settings.max_requests
        assert limits.max_bytes == settings.max_bytes
        assert limits.max_line_bytes == settings.max_line_bytes


def test_the_model_of_a_file_is_the_default_one(config: Path) -> None:
    """With `model_path`, the engine has only that model; with an upstream, the file is not used."""
    config.write_text('[providers.local]\nmodel_path = "/models/Tiny-1.gguf"\n')
    local = load().profiles["local"]
    assert (local.default_chat_model, local.default_embedding_model) == ("Tiny-1", "Tiny-1")
    assert local.default_chat_model in model_names(local_settings())
    assert pick_provider(None, "tiny-1").name == "local"
    config.write_text('[providers.local]\nmodel_path = "/models/Tiny-1.gguf"\nchat_model = "m"\n')
    assert load().profiles["local"].default_chat_model == "m"
    config.write_text('[providers.local]\nmodel_path = "/models/Tiny-1.gguf"\nupstream = "http://gpu/v1"\n')
    assert load().profiles["local"].default_chat_model == BUILT_IN["local"].default_chat_model


def test_a_default_provider_that_does_not_exist_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has not typed that name in this command."""
    monkeypatch.setenv("OBATCH_PROVIDER", "opnai")
    with pytest.raises(UnknownProviderError, match="OBATCH_PROVIDER names 'opnai'") as told:
        pick_provider(None, "gpt-4o")
    assert "did you mean openai?" in told.value.hint


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


@pytest.mark.parametrize("value", ["käse-0123456789", "sk-0123456789\nabcdef", "\x1b[2Jsk-0123456789"])
def test_a_variable_that_no_header_can_have_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The value may be a key, and is not shown, neither as it is nor escaped."""
    monkeypatch.setenv("ACME_AUTH", value)
    profile = Provider(name="acme", base_url="http://127.0.0.1:9/v1", headers={"Authorization": "env:ACME_AUTH"})
    with pytest.raises(AuthError, match="the value for the header Authorization of acme has characters") as told:
        OpenAIBatchApi(profile).models()
    assert "0123456789" not in f"{told.value}{told.value.hint}"
    assert "ACME_AUTH" in told.value.hint


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
