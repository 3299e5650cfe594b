"""`obatch config set | unset | edit` and `obatch providers show | rm`: comments are kept, invalid values refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import Terminal, inside, invoke, plain, request, see, write

if TYPE_CHECKING:
    from support.faults import FaultServer

TEXT = """# my settings
provider = "openai"  # for now

[providers.acme]
base_url = "https://acme.example/v1"  # the new one
# never more than this:
max_requests = 500

# the one on this machine
[providers.local]
idle_seconds = 30
# the end
"""


def config(text: str = TEXT) -> Path:
    """Write the configuration file."""
    path = Path(os.environ["OBATCH_CONFIG"])
    path.write_text(text, encoding="utf-8")
    return path


def remarks(text: str) -> list[str]:
    """Return the comments, in their order."""
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


def content(path: Path) -> dict[str, Any]:
    """Return what the file says."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_values_are_set_and_removed_and_comments_stay() -> None:
    """Values are stored with the type of their setting, and every comment stays in its place."""
    path = config()
    for words in (
        ["provider", "acme"],
        ["providers.acme.max_requests", "700"],
        ["providers.acme.models", "acme/*"],
        ["providers.acme.endpoints", "/v1/embeddings", "/v1/chat/completions"],
        ["providers.acme.completion_window", "24"],
        ["providers.acme.headers.X-Team", "blue"],
        ["providers.new.base_url", "https://new.example/v1"],
        ["notify", "bell"],
    ):
        inside("config", "set", *words).succeeded()
    changed = path.read_text(encoding="utf-8")
    assert remarks(changed) == remarks(TEXT)
    assert changed.index("models") < changed.index("# the one on this machine")
    said = content(path)
    assert said["provider"] == "acme"
    assert said["notify"] == ["bell"]
    assert said["providers"]["acme"] == {
        "base_url": "https://acme.example/v1",
        "max_requests": 700,
        "models": ["acme/*"],
        "endpoints": ["/v1/embeddings", "/v1/chat/completions"],
        "completion_window": "24",
        "headers": {"X-Team": "blue"},
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    inside("config", "unset", "providers.acme.headers").succeeded()
    inside("config", "set", "provider", "openai").succeeded()
    inside("providers", "rm", "acme").succeeded()
    left = path.read_text(encoding="utf-8")
    assert [line for line in remarks(TEXT) if "this:" not in line and "new one" not in line] == remarks(left)
    assert set(content(path)["providers"]) == {"local", "new"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["set", "providers.acme.max_requests", "many"], 2, "max_requests must be a whole number above 0"),
        (["set", "providers.acme.max_request", "1"], 2, "unknown key 'max_request'"),
        (["set", "providers.acme.api_key", "sk-0123456789abcdef"], 2, "keys do not belong in this file"),
        (["set", "providers.acme.base_url", "http://other.example"], 0, ""),
        (["set", "providers.acme.api_key_env", "OPENAI_API_KEY"], 2, "OPENAI_API_KEY is OpenAI's key"),
        (["set", "provider", "acmee"], 2, "provider = 'acmee' is not known"),
        (["set", "providers.local.idle_second", "1"], 2, "unknown key 'idle_second'"),
        (["set", "notify", "slack://a/b/c"], 2, "notify contains a URL"),
        (["set", "notify", "slack"], 2, "entry 1 of notify is not known"),
        (["set", "providers.local.idle_seconds", "90m"], 2, "[providers.local] idle_seconds must be a number of"),
        (["set", "colour", "red"], 2, "'colour' is not a setting"),
        (["set", "provider", "openai\nnotify = 3"], 2, "is not known"),
        (["set", "provider = 'x' #", "y"], 2, "is not a setting"),
        (["set", "provider.x", "y"], 2, "provider is a value"),
        (["unset", "providers.acme.models"], 2, "providers.acme.models is not set"),
        (["unset", "providers.acme.base_url"], 2, "base_url is missing"),
        (["unset", "provider.x.y"], 2, "is not set"),
    ],
)
def test_invalid_values_are_refused(words: list[str], code: int, message: str) -> None:
    """A change that would break the file, or put a key into it, is refused, and the file is not changed."""
    path = config()
    before = path.read_bytes()
    result = inside("config", *words)
    if code:
        result.failed(code, message)
        assert "0123456789abcdef" not in result.err
        assert path.read_bytes() == before
    else:
        result.succeeded()


def test_one_word_is_a_list_where_a_list_is_needed() -> None:
    """A command may be one word."""
    path = config('[providers.c]\nkind = "shards"\nstore = "/shared/s"\nengine = ["vllm", "serve"]\n')
    for key in ("engine", "command"):
        inside("config", "set", f"providers.c.{key}", "./start").succeeded()
        assert content(path)["providers"]["c"][key] == ["./start"]


def test_a_broken_file_is_not_changed() -> None:
    """A file that is not valid TOML is not changed, and a file that other users can write to is refused."""
    path = config("[broken\n")
    inside("config", "set", "provider", "openai").failed(2, "not valid TOML")
    assert path.read_text(encoding="utf-8") == "[broken\n"
    config()
    path.chmod(0o666)
    inside("config", "set", "provider", "local").failed(2, "other users can change")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """If the file is a symbolic link, its target is changed."""
    path = config()
    target = tmp_path / "dotfiles.toml"
    path.rename(target)
    path.symlink_to(target)
    inside("config", "set", "provider", "local").succeeded()
    assert path.is_symlink()
    assert content(target)["provider"] == "local"


@pytest.mark.slow
def test_changes_at_the_same_time_are_all_kept() -> None:
    """If several commands change the file at the same time, all changes are kept, whatever their state folders are."""
    path = config()

    def change(number: int) -> None:
        words = ["config", "set", f"providers.p{number}.base_url", f"https://p{number}.example/v1"]
        invoke(*words, env={"OBATCH_STATE_DIR": str(path.parent / f"state-{number}")})

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"p{n}" for n in range(4)} <= set(content(path)["providers"])


def editor(folder: Path, code: str) -> str:
    """Return a command that edits the file it is given: `code` turns the text `t` into another."""
    program = folder / "editor.py"
    program.write_text(
        f"import sys\nfrom pathlib import Path\np = Path(sys.argv[1])\nt = p.read_text()\np.write_text({code})\n",
        encoding="utf-8",
    )
    return f"{sys.executable} {program}"


def test_edit_replaces_the_file_only_if_it_is_valid(tmp_path: Path) -> None:
    """The editor gets a copy; errors in it are reported, and the file is not changed."""
    path = config()
    good = {"VISUAL": editor(tmp_path, "t.replace('500', '600')")}
    inside("config", "edit", env=good).succeeded()
    assert path.read_text(encoding="utf-8") == TEXT.replace("500", "600")
    assert "nothing was changed" in inside("config", "edit", env=good).succeeded().err
    bad = {"VISUAL": "", "EDITOR": editor(tmp_path, "t.replace('600', 'six')")}
    result = inside("config", "edit", env=bad)
    assert result.code == 2
    assert f"{path}: not valid TOML" in result.err
    assert "the file was not changed" in result.err
    inside("config", "edit", env={"VISUAL": "no-such-editor"}).failed(2, "no-such-editor", "VISUAL")
    assert path.read_text(encoding="utf-8") == TEXT.replace("500", "600")


def test_edit_asks_again_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal, an invalid file can be edited again."""
    path = config()
    terminal = Terminal("config", "edit", env={"VISUAL": editor(tmp_path, "t.replace('500', '\"x\"')")})
    terminal.child.expect_exact("max_requests must be a whole number")
    terminal.child.expect_exact("Edit it again?")
    terminal.child.sendline("n")
    assert "the file was not changed" in terminal.finish().out
    assert path.read_text(encoding="utf-8") == TEXT


def test_every_value_is_shown_with_its_origin(home: Path) -> None:
    """`config show` tells whether a value is built in or comes from the file, a variable or an option."""
    path = config()
    shown = inside("config", "show").succeeded().fields
    assert shown["provider"] == "openai (from the file)"
    assert shown["state_dir"] == f"{home / 'state'} (from OBATCH_STATE_DIR)" or "OBATCH_STATE_DIR" in shown["state_dir"]
    assert shown["providers.acme.max_requests"] == "500 (from the file)"
    assert shown["providers.acme.max_bytes"] == "104,857,600 (built in)"
    assert shown["providers.local.idle_seconds"] == "30 (from the file)"
    assert shown["providers.local.slots"] == "8 (built in)"
    assert "providers.local.upstream" not in shown
    assert shown["notify"] == "none (built in)"
    env = {"OBATCH_PROVIDER": "groq"}
    assert inside("config", "show", env=env).fields["provider"] == "groq (from OBATCH_PROVIDER)"
    assert inside("config", "show", "-p", "local", env=env).fields["provider"] == "local (from option)"
    values = {each["key"]: each for each in inside("config", "show", "--json").json["values"]}
    assert values["provider"] == {"key": "provider", "value": "openai", "origin": str(path)}
    text = plain(see("config", "show", columns=80).succeeded().out)
    assert "500 (from the file)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_provider_is_shown_and_removed(faulty: FaultServer) -> None:
    """`providers show` prints each value with its origin; `rm` refuses to remove a provider that has running jobs."""
    fields = inside("providers", "show", "faulty").succeeded().fields
    assert fields["base_url"] == f"{faulty.base_url} (from the file)"
    assert fields["key"] == "TEST_KEY is set"
    assert fields["max_requests"] == "50,000 (built in)"
    assert "built in" in plain(see("providers", "show", "groq", columns=80).succeeded().out)
    inside("providers", "rm", "groq").failed(2, "groq is built in")
    inside("providers", "rm", "nobody").failed(6, "nobody")
    write("in.jsonl", [request("a", "fault:steps=in_progress")])
    inside("submit", "in.jsonl", "-p", "faulty").succeeded()
    inside("providers", "rm", "faulty").failed(2, "job 1 is still running at faulty", "obatch wait 1")
    assert inside("providers", "rm", "faulty", "--force", "--json").succeeded().json["name"] == "faulty"
    inside("providers", "show", "faulty").failed(6, "faulty")


def test_prices_are_shown() -> None:
    """`providers show` has the prices of the file, by model."""
    path = config()
    text = path.read_text(encoding="utf-8")
    path.write_text(text + '[providers.acme.prices."acme/a"]\ninput = 1.0\noutput = 4\n', encoding="utf-8")
    shown = inside("providers", "show", "acme").succeeded().fields
    assert shown["prices"] == "acme/a: input = 1.0, output = 4.0 (from the file)"
    assert {"key": "prices", "value": {"acme/a": {"input": 1.0, "output": 4.0}}, "origin": str(path)} in (
        inside("providers", "show", "acme", "--json").json["values"]
    )
    assert "providers.acme.prices" in inside("config", "show").succeeded().fields


KEYRING = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}


@pytest.mark.slow
def test_a_key_from_the_system_keyring(faulty: FaultServer, tmp_path: Path) -> None:
    """A key in the keyring is used and never shown; if it is missing, the hint says how to add it."""
    keyring = pytest.importorskip("keyring")
    pytest.importorskip("keyrings.alt.file")
    assert keyring
    env = {**KEYRING, "XDG_DATA_HOME": str(tmp_path)}
    inside("providers", "add", "acme", "--base-url", faulty.base_url, "--api-key-keyring", "acme").succeeded()
    write("in.jsonl", [request("a")])
    said = invoke("submit", "in.jsonl", "-p", "acme", env=env).failed(
        4, "has no entry 'acme'", "keyring set obatch acme"
    )
    assert faulty.uploads == []
    secret = "sk-in-the-keyring-0123456789"
    code = f"import keyring; keyring.set_password('obatch', 'acme', {secret!r})"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, check=True)
    said = invoke("submit", "in.jsonl", "-p", "acme", env=env).succeeded()
    assert faulty.creates[0].headers["authorization"] == f"Bearer {secret}"
    shown = [invoke("providers", env=env), invoke("providers", "show", "acme", "--json", env=env)]
    assert all(secret not in each.out + each.err for each in [said, *shown])
    assert json.loads(shown[1].out)["key"] == "in the keyring"
    null = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    invoke("submit", "in.jsonl", "-p", "acme", "--again", env=null).failed(4, "cannot be read", "keyring diagnose")


@pytest.mark.parametrize(
    "words",
    [
        ["doctor", "http://127.0.0.1:9/v1", "--api-key-env"],
        ["serve", "--token-env"],
        ["serve", "--upstream", "http://127.0.0.1:9/v1", "--upstream-key-env"],
        ["providers", "add", "acme", "--base-url", "https://api.acme.example/v1", "--api-key-env"],
        ["config", "set", "providers.openai.api_key_env"],
    ],
)
def test_a_key_in_place_of_a_variable_is_not_shown(words: list[str]) -> None:
    """A key that is given instead of the name of a variable is refused, and not printed."""
    key = "sk-mistaken-0123456789"
    result = inside(*words, key).failed(2, "environment variable")
    assert key not in result.err
