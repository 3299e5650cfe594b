"""The files of the built-in profiles: what is in them, when they are read, and where their keys are sent."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import inside, plain, see

from openai_batch.errors import ConfigError
from openai_batch.providers import askable_providers, get_provider_by_model, get_provider_by_name
from openai_batch.providers.builtin import BUILT_IN
from openai_batch.providers.builtin_names import BUILT_IN_NAMES, KEY_VARIABLES
from openai_batch.providers.config import built_in, built_in_text, load
from openai_batch.providers.provider import Provider

if TYPE_CHECKING:
    from support.workbench import Workbench

FOLDER = Path(__file__).parents[2] / "openai_batch" / "providers" / "profiles"
FILES = [name for name in BUILT_IN_NAMES if name not in BUILT_IN]
AZURE = '[providers.azure]\nbase_url = "https://mine.openai.azure.com/openai/v1"\n'
WATCHED = """
import os, sys
folder = os.path.join("profiles", "")
sys.addaudithook(lambda event, args: event == "open" and folder in str(args[0]) and print(args[0], file=sys.stderr))
from openai_batch.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def config(home: Path) -> Path:
    """Return the path of the test's configuration file."""
    return home / "config.toml"


def test_each_file_is_listed_with_its_key() -> None:
    """BUILT_IN_NAMES and KEY_VARIABLES match the files, so that listing reads no file."""
    assert {path.stem for path in FOLDER.iterdir()} == set(FILES)
    assert {name: ", ".join(built_in(name).key_variables) for name in BUILT_IN_NAMES} == KEY_VARIABLES
    variables = [*filter(None, KEY_VARIABLES.values())]
    assert len(set(variables)) == len(variables), "a key belongs to one host"


@pytest.mark.parametrize("name", FILES)
def test_a_profile_uses_no_settings_of_other_profiles(name: str) -> None:
    """A profile claims no models, uses HTTPS, and has a comment with its sources."""
    text, profile = built_in_text(name), built_in(name)
    assert profile.models == ()
    assert str(profile.base_url).startswith("https://") or (profile.is_template and not profile.key_variables)
    about = re.match(r"# [^\n]+: https://\S+\n(# \w+: .+\n)+\n", text)
    assert about
    assert {"Tried", "Source", "Windows"} <= set(re.findall(r"^# (\w+): ", about[0], re.MULTILINE))
    assert len(tomllib.loads(text)) == len(re.findall(r"^\w+ = ", text, re.MULTILINE))


def test_keys_of_vendors_do_not_change_the_provider_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model has the same default provider, whatever keys are set."""
    for variable in filter(None, KEY_VARIABLES.values()):
        monkeypatch.setenv(variable, "k")
    for model in ("moonshotai/Kimi-K2", "zai-org/GLM-4.6", "deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.3-70B"):
        assert get_provider_by_model(model).name == "parasail"
    assert get_provider_by_model("gpt-4o-mini").name == "openai"


@pytest.mark.parametrize(
    "words",
    [("--version",), ("--help",), ("__complete", "providers", ""), ("providers",), ("prune",), ("check", "in.jsonl")],
)
def test_only_needed_profiles_are_read(words: tuple[str, ...], tmp_path: Path) -> None:
    """Only the profile that a command names is read."""
    line = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o","messages":[]}}\n'
    (tmp_path / "in.jsonl").write_bytes(line)

    def opened(*words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return re.findall(r"([\w-]+)\.toml$", done.stderr, re.MULTILINE)

    assert opened(*words) == []
    if words[0] == "check":
        assert set(opened(*words, "-p", "groq")) == {"groq"}


def test_a_template_needs_the_users_base_url(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template without a base URL cannot be used, and the hint is the command that adds it."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-canary-0123456789")
    assert "azure" not in [provider.name for provider in askable_providers()]
    with pytest.raises(ConfigError, match="Azure OpenAI needs the base URL of your own") as told:
        get_provider_by_name("azure").new_client()
    words = told.value.hint.split("`")[1].replace("RESOURCE", "mine").split()
    inside(*words[1:]).succeeded()
    assert config.read_text(encoding="utf-8") == AZURE
    client = get_provider_by_name("azure").new_client()
    assert client.default_headers["api-key"] == "key-canary-0123456789"
    client.close()
    assert "azure" in [provider.name for provider in askable_providers()]
    config.write_text("[providers.azure]\nmax_requests = 5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="base_url is missing"):
        load()


def test_the_key_of_a_template_goes_to_hosts_of_the_vendor_only(config: Path) -> None:
    """A profile at another host does not get the key and the headers of the built-in one."""
    config.write_text(AZURE.replace("mine.openai.azure.com", "openai.azure.com.evil.example"), encoding="utf-8")
    elsewhere = load().profiles["azure"]
    assert (elsewhere.key_variables, elsewhere.headers, elsewhere.endpoints) == ((), {}, ())
    config.write_text(AZURE, encoding="utf-8")
    assert load().profiles["azure"].key_variables == ("AZURE_OPENAI_API_KEY",)


def test_a_profile_may_be_like_a_built_in_one(config: Path) -> None:
    """`like` takes the settings of a built-in profile, except for its name and key."""
    config.write_text(
        AZURE.replace("azure]", 'azure-eu]\nlike = "azure"')
        + '[providers.work]\nlike = "together"\napi_key_env = "K"\n',
        encoding="utf-8",
    )
    profiles = load().profiles
    assert (str(profiles["azure-eu"]), profiles["azure-eu"].headers) == ("azure-eu", built_in("azure").headers)
    assert (profiles["work"].upload_path, profiles["work"].api_key_env_var) == ("/files/upload", "K")
    assert "like\ttogether (from the file)" in inside("providers", "show", "work").succeeded().out
    for name in ("nobody", "local", "work"):
        config.write_text(f'[providers.x]\nlike = "{name}"\n', encoding="utf-8")
        with pytest.raises(ConfigError, match="is not a built-in provider"):
            load()
    config.write_text("", encoding="utf-8")
    inside("providers", "add", "x").failed(2, "which base URL has x?", "--base-url")


def test_fields_of_an_upload_come_from_the_profile(workbench: Workbench) -> None:
    """The form fields in `upload_fields` are sent with each upload."""
    with (workbench.home / "config.toml").open("a") as file:
        file.write('upload_fields = { target_model_names = "gpt-4o" }\n')
    workbench.run("some-model")
    (upload,) = workbench.server.uploads
    assert b'name="target_model_names"\r\n\r\ngpt-4o\r\n' in upload.body
    assert b'name="purpose"\r\n\r\nbatch\r\n' in upload.body


def test_a_provider_with_keys_in_headers_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider with a key in a header has a key if the variable is set."""
    provider = Provider(base_url="https://x.example/v1", headers={"api-key": "env:HEADER_KEY", "x": "y"})
    assert (provider.needs_key, provider.has_key, provider.key_variables) == (True, False, ("HEADER_KEY",))
    monkeypatch.setenv("HEADER_KEY", "k")
    assert provider.has_key


def test_the_list_begins_with_usable_providers(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """`providers` lists those that are configured or have a key, and counts the others; --all lists all."""
    config.write_text(AZURE, encoding="utf-8")
    monkeypatch.setenv("GROQ_API_KEY", "k")
    listed = inside("providers").succeeded()
    names = [row[0] for row in listed.rows]
    assert names == ["openai", "parasail", "local", "groq", "azure"]
    shown = " ".join(plain(see("providers").succeeded().out).split())
    assert f"the {len(BUILT_IN_NAMES) - 5} other built-in providers" in shown
    every = inside("providers", "--all").succeeded()
    assert [row[0] for row in every.rows] == [*names, *(name for name in BUILT_IN_NAMES if name not in names)]
    keys = {record["name"]: record["key"] for record in inside("providers", "--all", "--json").succeeded().json}
    assert keys["azure"] == "AZURE_OPENAI_API_KEY is not set"
    assert (keys["groq"], keys["litellm"]) == ("GROQ_API_KEY is set", "not needed")
