"""A key is in no output, no file and no command line, for any command, key and answer."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.canary import KEY, MARK, Ran, assert_key_absent, command_lines, listener, repeat_key, response, run
from support.full import FULL
from support.servers import echo_upstream, wait_until

from openai_batch.errors import BatchError
from openai_batch.hidden_keys import without_key
from openai_batch.providers import get_provider_by_name
from openai_batch.providers.openai_api import OpenAIBatchApi

if TYPE_CHECKING:
    from pathlib import Path

    from support.workbench import Workbench

pytestmark = pytest.mark.slow


COMMANDS = (
    ("prepare", "prompts.txt", "-p", "faulty", "-m", "m", "-o", "prepared.jsonl"),
    ("check", "in.jsonl", "-p", "faulty"),
    ("cost", "in.jsonl", "-p", "faulty"),
    ("sample", "in.jsonl", "-p", "faulty", "-n", "1"),
    ("submit", "in.jsonl", "-p", "faulty", "--name", "one"),
    ("status", "one", "--json"),
    ("wait", "one"),
    ("download", "one", "-o", "one.jsonl"),
    ("download", "one", "--raw", "raw"),
    ("results", "one", "-o", "one.csv", "--strict"),
    ("results", "one", "--json"),
    ("report", "one", "--html", "one.html", "--json"),
    ("stats", "one.jsonl"),
    ("retry", "one", "--dry-run"),
    ("export", "one", "-o", "exported.jsonl"),
    ("import", "one.jsonl", "--input", "exported.jsonl"),
    ("ls", "--remote", "-p", "faulty"),
    ("prune", "--remote", "one", "--dry-run"),
    ("prune", "--older-than", "0s"),
    ("rm", "one", "--dry-run"),
    ("cancel", "one"),
    ("run", "mixed.jsonl", "-p", "faulty", "-o", "mixed.out", "--strict"),
    ("ls", "--json"),
    ("cost",),
    ("recover", "-p", "faulty"),
    ("status", "batch_nobody", "-p", "faulty"),
    ("providers",),
    ("providers", "show", "faulty"),
    ("providers", "test", "faulty"),
    ("doctor", "faulty"),
    ("config", "show"),
    ("config", "set", "providers.faulty.display_name", "Faulty"),
    ("config", "unset", "providers.faulty.display_name"),
    ("config", "path"),
)
"""The commands of `obatch` that may use a key; PROGRAMS has the others."""

PROGRAMS = (
    ("run", "in.jsonl", "-p", "faulty", "-o", "old.out"),
    ("run", "mixed.jsonl", "-p", "faulty", "-o", "old.mixed", "-e", "old.errors"),
    ("create_batch", "prompts.txt", "created.jsonl", "-p", "faulty", "--model", "m"),
    ("create_batch_input", "prompts.txt", "input.jsonl", "-p", "faulty", "--model", "m"),
    ("create_input", "prompts.txt", "input2.jsonl"),
    ("example_prompts", "example.txt", "-n", "2"),
)
"""The programs behind `python -m openai_batch.NAME`."""

KEYS = {
    "newline": (f"{KEY}\n", 0),
    "spaces": (f"sk {MARK} 0123", 4),
    "letters": (f"{KEY}\u00e9\u4e2d", 4),
    "control": (f"{KEY}\x1b[2J", 4),
    "long": (f"{KEY}{'x' * 10_000}", 0),
}
"""Common invalid keys, each with the exit code of `obatch run`."""


def prepare(workbench: Workbench) -> None:
    """Write the inputs that the commands name."""
    (workbench.folder / "prompts.txt").write_text("one\ntwo\n", encoding="utf-8")
    workbench.write("fault:end=completed")
    workbench.write("fault:rows=mixed", name="mixed.jsonl")


def places(workbench: Workbench) -> tuple[Path, ...]:
    """Return every folder that a command may write to."""
    return (workbench.home, workbench.folder, workbench.folder.parent / "tmp")


def use(workbench: Workbench) -> list[Ran]:
    """Run every command and every program once."""
    prepare(workbench)
    ran = [run(*words) for words in COMMANDS]
    return ran + [run(*words, module=f"openai_batch.{name}") for name, *words in PROGRAMS]


def test_no_command_shows_the_key(here: Workbench) -> None:
    """After every command, the key is only in the Authorization header to its own host."""
    ran = use(here)
    assert {result.code for result in ran} <= {0, 5, 6}, [(r.words, r.code) for r in ran]
    assert [result.code for result in ran].count(0) >= 20
    assert_key_absent(*ran, folders=places(here))
    assert here.server.requests
    for request in here.server.requests:
        assert request.headers.pop("authorization") == f"Bearer {KEY}"
        assert MARK not in f"{request.headers}{request.path}{request.query}{request.body!r}"
    assert here.server.strays == []


@pytest.mark.parametrize("kind", KEYS)
def test_an_invalid_key_is_not_shown(here: Workbench, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Keys with white space, other scripts or control characters, and very long ones, are not shown either."""
    key, code = KEYS[kind]
    monkeypatch.setenv("FAULTY_KEY", key)
    prepare(here)
    ran = [run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")]
    assert ran[0].code == code
    ran += use(here) if FULL else [run("in.jsonl", "-p", "faulty", module="openai_batch.run")]
    assert_key_absent(*ran, folders=places(here))
    sent = {request.headers["authorization"] for request in here.server.requests}
    assert sent == (set() if code else {f"Bearer {key.strip()}"})


FAULTS = (
    *("upload=401", "upload=500*9", "create=401", "create=400:no", "create=made.html", "create=reset", "create=502"),
    *(
        "create=307",
        "poll=400:no",
        "poll=301",
        "content=html*9",
        "content=jsonerror*9",
        "content=reset*9",
        "end=failed",
    ),
)


@pytest.mark.parametrize("fault", FAULTS if FULL else FAULTS[::4])
def test_no_failure_shows_the_key(here: Workbench, fault: str) -> None:
    """The key is not shown after refusals, invalid lines, web pages and redirects."""
    here.configure(create_timeout=2, create_grace=0.2)
    here.write(f"fault:{fault}")
    ran = run("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl")
    assert ran.code in (0, 1, 4, 5, 7), ran
    assert_key_absent(ran, folders=places(here))


ECHOES = [
    *((status, "application/json") for status in (200, 301, 400, 401, 403, 404, 409, 429, 500)),
    *((status, "text/plain") for status in (200, 401, 500)),
    (200, "text/html"),
]


@pytest.mark.parametrize(("status", "kind"), ECHOES)
def test_a_key_that_the_server_repeats_is_removed(here: Workbench, status: int, kind: str) -> None:
    """If an answer of the server contains the key, as some 401 answers do, our error does not."""
    with listener(repeat_key(status, kind)) as server:
        here.configure(base_url=f"{server.url}/v1", create_grace=0.1)
        api = OpenAIBatchApi(get_provider_by_name("faulty"))
        client = api._sdk()
        client.max_retries = 0
        told = []
        for ask in (lambda: api.get("batch_1"), lambda: list(api.batches()), lambda: api.file("file-1")):
            try:
                told.append(repr(ask()))
            except BatchError as exc:
                told.append(f"{exc!r} {exc} {exc.hint} {vars(exc)} {exc.__cause__} {exc.__suppress_context__}")
        api.close()
        assert len(server.heard) == 3
        assert all(KEY.encode() in heard for heard in server.heard)
    assert len(told) == 3
    assert MARK.lower() not in " ".join(told).lower(), told


def test_a_page_that_repeats_the_key_instead_of_results(here: Workbench) -> None:
    """A page that is sent instead of a result file is shown in part, without the key, and without that of others."""
    other = "sk-another-account-0123456789"
    here.write("fault:end=completed")
    assert run("submit", "in.jsonl", "-p", "faulty").code == 0
    assert run("wait").code == 0
    for file in here.server.files.values():
        if file.purpose == "batch_output":
            file.data = f"Incorrect API key provided: {other}, {KEY}.".encode()
    ran = run("download", "-o", "out.jsonl")
    assert ran.code == 1
    assert "Incorrect API key provided" in ran.said
    assert other not in ran.said
    assert_key_absent(ran, folders=places(here))


FORMS = {
    "upper": KEY.upper(),
    "percent": "".join(f"%{ord(char):02X}" for char in KEY),
    "json": "".join(f"\\u{ord(char):04x}" for char in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "basic": base64.b64encode(f"me:{KEY}".encode()).decode(),
    "urlsafe": base64.urlsafe_b64encode(f"?~{KEY}?".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_in_another_form_is_removed(form: str) -> None:
    """The key is removed in any letter case, with escapes, and in base64; other text is kept."""
    told = without_key(KEY, f"seen: {FORMS[form]} end")
    assert told.startswith("seen: ")
    assert told.endswith(" end")
    assert FORMS[form][8:24] not in told
    assert without_key(KEY, f"sk-{'x' * 40}") == f"sk-{'x' * 40}"
    assert without_key("none", "none of it") == "(key) of it"


def test_results_that_repeat_the_key_are_not_shown_with_it(here: Workbench) -> None:
    """An error in a result line is shown without the key that it contains; the file itself is not changed."""
    here.write("fault:rows=mixed")
    assert run("submit", "in.jsonl", "-p", "faulty").code == 0
    assert run("wait").code in (0, 5)
    for file in here.server.files.values():
        if file.purpose == "batch_output":
            file.data = file.data.replace(b'"message": "', f'"message": "{KEY} {FORMS["base64"]} '.encode())
    told = [run("download", "-o", "out.jsonl"), run("results", "-o", "out.csv"), run("retry", "--dry-run")]
    told += [run("report"), run("report", "--html", "out.html"), run("stats", "out.jsonl")]
    assert KEY.encode() in (here.folder / "out.jsonl").read_bytes()
    assert MARK.encode() not in (here.folder / "out.html").read_bytes()
    assert any("(key)" in result.said for result in told)
    for result in told:
        assert MARK not in result.said
        assert FORMS["base64"][8:24] not in result.said


def test_a_key_is_in_no_command_line(here: Workbench) -> None:
    """The key is not in the command line of a running command or of its child processes."""
    here.write(f"fault:steps={','.join(['in_progress'] * 40)}")
    assert run("submit", "in.jsonl", "-p", "faulty").code == 0
    with subprocess.Popen([sys.executable, "-m", "openai_batch", "wait"], stderr=subprocess.DEVNULL) as waiting:
        try:
            wait_until(lambda: len(here.server.seen("GET", "/batches/.*")) > 1, "the first looks")
            assert "wait" in command_lines(waiting.pid)
            assert MARK not in command_lines(waiting.pid)
        finally:
            waiting.kill()


def test_no_option_takes_a_key() -> None:
    """No option takes a key or a token; options take the name of a variable."""
    for words in (("submit",), ("run",), ("serve",), ("providers", "add")):
        shown = run(*words, "--help").said
        options = [word.strip(",") for word in shown.split() if word.startswith("--")]
        assert options
        assert not [
            option for option in options if "key" in option and not option.endswith(("-env", "-command", "-keyring"))
        ]
        assert not [option for option in options if "token" in option and not option.endswith("-env")]


@pytest.mark.parametrize(
    "table",
    [
        '[providers.local]\nupstream = "URL"\nupstream_key_env = "UPSTREAM_KEY"\n',
        '[[providers.local.upstream]]\nurl = "URL"\nkey_env = "UPSTREAM_KEY"\n',
    ],
)
def test_the_key_of_an_upstream_stays_in_the_servers_header(
    here: Workbench, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """The local server sends the key of its upstream only to the upstream, and writes it to no file."""
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    with echo_upstream(key=KEY) as echo:
        (here.home / "config.toml").write_text(table.replace("URL", echo.base_url), encoding="utf-8")
        try:
            ran = [run("run", "-", "-p", "local", "-m", "echo-1", stdin="hello\n")]
            assert ran[0].code == 0, ran
            assert "echo: hello" in ran[0].said
            (pid,) = here.home.rglob("server.json")
            assert MARK not in pid.read_text(encoding="utf-8")
        finally:
            ran.append(run("serve", "--stop"))
    assert_key_absent(*ran, folders=places(here))


def test_the_search_finds_what_it_looks_for(here: Workbench) -> None:
    """The search for the canary finds it in an output, in a file and in a file name."""
    for said, name, content in ((KEY, "a", ""), ("", KEY, ""), ("", "a", KEY)):
        path = here.folder / name
        path.write_text(content, encoding="utf-8")
        with pytest.raises(AssertionError):
            assert_key_absent(Ran((), 0, said), folders=places(here))
        path.unlink()
    assert MARK.encode() in repeat_key(401)(f"GET / HTTP/1.1\r\nAuthorization: Bearer {KEY}".encode())
    assert response(200, "x").startswith(b"HTTP/1.1 200")
