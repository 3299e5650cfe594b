"""The command and the library on a simulated Windows, which runs on Linux (`support/windows/sitecustomize.py`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command import ids, request, write
from support.sample_tables import cells, spreadsheet
from support.systems import on_windows

if TYPE_CHECKING:
    from support.faults import FaultServer

pytestmark = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the simulation reads /proc")

RUNS_ON = "fault:steps=" + ",".join(["in_progress"] * 40)
COMMANDS = """
import sys
from support.command import inside
for line in sys.argv[1:]:
    line, _, code = line.partition(" -> ")
    done = inside(*line.split(" "))
    assert done.code == int(code or 0), (line, done)
    assert "Permission denied" not in done.err, (line, done)
"""


@pytest.mark.slow
def test_a_job_from_prompts_to_answers(faulty: FaultServer) -> None:
    """Every command of a whole job works, and leaves no temporary folders or hidden files."""
    Path("prompts.csv").write_text("text\n日本\n🎉\n", encoding="utf-8")
    write("long.jsonl", [request("z", RUNS_ON)])
    write("half.jsonl", [request("a", "fault:end=expired;rows=absent"), request("b", "fault:end=expired;rows=absent")])
    on_windows(
        COMMANDS,
        "prepare prompts.csv --prompt Say:{{text}} -m echo-1 -o in.jsonl",
        "submit in.jsonl -p faulty --name first",
        "status first",
        "wait first",
        "download first -o out.jsonl",
        "download first -o out.jsonl",
        "results first",
        "ls",
        "run prompts.csv --prompt Say:{{text}} -m echo-2 -p faulty -o out.csv",
        "submit half.jsonl -p faulty --name half",
        "wait half -> 5",
        "retry half",
        "download half -o half.out.jsonl",
        "submit long.jsonl -p faulty --name long",
        "cancel long",
        "recover -p faulty",
        "rm long --force",
        "prune",
    )
    assert len(ids("out.jsonl")) == 2
    assert "日本" in Path("out.csv").read_text(encoding="utf-8")
    assert len(faulty.batches) == 5
    state = Path.home() / "state"
    assert not [path for path in (state / "spool").iterdir() if path.name != "results"]
    assert len(list((state / "jobs").iterdir())) == 3
    assert not list(Path().glob(".*"))


MORE = """
import os, sys
from pathlib import Path
from support.command import inside
def done(*words, code=0):
    result = inside(*words)
    assert result.code == code, (words, result)
    return result
os.environ["EDITOR"] = f"{sys.executable} edit.py"
Path("edit.py").write_text("import sys, pathlib\\np = pathlib.Path(sys.argv[1])\\n"
                           "p.write_text(p.read_text().replace('= 1', '= 2'))", encoding="utf-8")
Path("tell.py").write_text("import os\\nopen('told', 'a').write(os.environ['OBATCH_MESSAGE'])", encoding="utf-8")
done("config", "set", "providers.faulty.max_requests", "1")
done("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl", "--notify", f"cmd:{sys.executable} tell.py")
assert "3 of 3" in Path("told").read_text(encoding="utf-8")
done("config", "edit")
assert "max_requests = 2" in Path(os.environ["OBATCH_CONFIG"]).read_text(encoding="utf-8")
done("config", "unset", "providers.faulty.max_requests")
for words in (["report"], ["report", "--html", "page.html"], ["stats", "in.jsonl"], ["stats", "out.jsonl"],
              ["cost", "in.jsonl", "-p", "faulty"], ["cost"], ["doctor", "faulty"], ["providers", "test", "faulty"],
              ["config", "show"], ["run", "in.jsonl", "-p", "faulty", "--dry-run"],
              ["results", "--as", "rows", "-o", "rows.csv"], ["results", "--as", "rows", "-o", "rows.parquet"]):
    done(*words)
done("run", "in.jsonl", "-p", "faulty", "-o", "new.jsonl", "--again", "--max-cost", "1", code=3)
done("providers", "rm", "faulty")
print(sum(1 for _ in open("page.html", encoding="utf-8")) > 50)
"""


@pytest.mark.slow
def test_the_other_commands(faulty: FaultServer) -> None:
    """Reports, costs, the configuration, provider checks, several parts at a time, and --notify work."""
    write("in.jsonl", [request(name) for name in "abc"])
    assert on_windows(MORE).strip() == "True"
    assert len(faulty.batches) == 3
    assert not list(Path().glob(".*"))


STATE_ONLY = {
    "cancel": ["1", "--dry-run"],
    "check": ["in.jsonl", "-p", "faulty"],
    "config edit": [],
    "config path": [],
    "config set": ["providers.faulty.max_requests", "5"],
    "config show": [],
    "config unset": ["providers.faulty.max_requests"],
    "cost": ["in.jsonl", "-p", "faulty"],
    "doctor": [],
    "download": ["1", "-o", "again.jsonl", "--dry-run"],
    "export": ["in.jsonl", "-o", "exported.jsonl"],
    "help": ["run"],
    "import": ["out.jsonl", "--input", "in.jsonl"],
    "ls": ["--all"],
    "prepare": ["table.ods", "-m", "m", "-o", "prepared.jsonl"],
    "providers": [],
    "providers add": ["acme", "--base-url", "https://acme.invalid"],
    "providers rm": ["acme"],
    "providers show": ["faulty"],
    "prune": ["--older-than", "0s", "--dry-run"],
    "report": ["1", "--html", "page.html"],
    "results": ["1", "-o", "rows.csv"],
    "retry": ["1", "--dry-run"],
    "rm": ["1", "--dry-run"],
    "run": ["in.jsonl", "-p", "faulty", "--dry-run"],
    "stats": ["in.jsonl"],
    "status": ["1"],
    "submit": ["in.jsonl", "-p", "faulty", "--dry-run"],
    "wait": ["1"],
}
ELSEWHERE = {"providers test", "recover", "sample", "serve", "worker"}
"""Commands that need a provider or POSIX; other tests in this file are about them."""

EVERY = """
import json, os, sys
from openai_batch.cli.completion_scripts import read_commands
from support.command import inside
cases, elsewhere = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
os.environ["EDITOR"] = f"{sys.executable} -c pass"
commands = [command for command in read_commands() if command.path]
runs = {command.name for command in commands if not command.commands or command.name in ("help", "providers")}
assert runs == {*cases, *elsewhere}, runs ^ {*cases, *elsewhere}
for command in commands:
    inside(*command.path, "--help").succeeded()
for name, words in cases.items():
    inside(*name.split(), *words).succeeded()
"""


@pytest.mark.slow
def test_every_command_runs(faulty: FaultServer) -> None:
    """Every command shows its help, and every command that needs no provider works."""
    write("in.jsonl", [request("a")])
    spreadsheet(Path("table.ods"), cells("text"), cells("one"))
    on_windows(EVERY, json.dumps(STATE_ONLY), json.dumps(sorted(ELSEWHERE)))
    assert len(faulty.batches) == 1
    assert not list(Path().glob(".*"))


AT_ONCE = """
import json, os
from pathlib import Path
from support.command import ids, inside, request, write
from openai_batch.testing import fake_provider
write("in.jsonl", [request(name, "m", max_tokens=9) for name in "abc"])
with fake_provider(lambda _: "yes", polls=1_000_000) as fake:
    prices = "[providers.fake.prices.m]\\ninput = 1.0\\noutput = 1.0\\n"
    with open(os.environ["OBATCH_CONFIG"], "a") as config:
        config.write(prices)
    inside("sample", "in.jsonl", "-n", "1").succeeded()
    inside("run", "in.jsonl", "-o", "out.jsonl", "--deadline", "0s", "--max-cost", "5").succeeded()
    print(sorted(ids("out.jsonl")), len(fake.requests))
"""


@pytest.mark.slow
def test_requests_outside_of_a_batch() -> None:
    """`sample` works, and so do requests that are sent outside of a batch because of a deadline."""
    assert on_windows(AT_ONCE).strip() == "['a', 'b', 'c'] 4"


OPTIONAL = """
import os, sys
from support.command import inside, request, write
import keyring
keyring.set_password("obatch", "acme", "sk-in-the-keyring-0123456789")
inside("providers", "add", "acme", "--base-url", os.environ["URL"], "--api-key-keyring", "acme").succeeded()
write("in.jsonl", [request("a")])
told = inside("run", "in.jsonl", "-p", "acme", "-o", "out.jsonl", "--notify", "json://127.0.0.1:9/x").succeeded()
assert "was not delivered" in told.err, told
"""


@pytest.mark.slow
def test_the_keyring_and_notifications(faulty: FaultServer, tmp_path: Path) -> None:
    """A key in the keyring is used, and a notification that cannot be sent is a warning."""
    pytest.importorskip("apprise")
    pytest.importorskip("keyrings.alt.file")
    keyring = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring", "XDG_DATA_HOME": str(tmp_path)}
    on_windows(OPTIONAL, URL=faulty.base_url, **keyring)
    assert faulty.creates[0].headers["authorization"] == "Bearer sk-in-the-keyring-0123456789"


PYTHON = """
import os
from pathlib import Path
from openai_batch import Batch, Jobs, Provider
provider = Provider(name="faulty", base_url=os.environ["URL"], api_key="k")
message = [{"role": "user", "content": "x"}]
with Jobs() as jobs:
    job = jobs.submit([{"model": "m", "messages": message}], provider=provider)
    print([result.text for result in job.wait().results()])
    job.download("out.jsonl")
    jobs.submit([{"model": "n", "messages": message}], provider=provider).cancel()
with Batch("in.jsonl", provider=provider) as batch:
    batch.add_to_batch(model="m", messages=message)
    batch.submit_wait_download(interval=0)
for given in (Batch(provider=provider), Batch(output_file="other.jsonl", provider=provider)):
    given.add_to_batch(model="m", messages=message)
    given.submit()
    given.status()
line = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\\n'
Batch(line, provider=provider).submit()
"""


@pytest.mark.slow
def test_programs(faulty: FaultServer) -> None:
    """`Batch` with each kind of input works, and so does `Jobs`."""
    out = on_windows(PYTHON, URL=faulty.base_url)
    assert "answer to" in out
    assert len(faulty.batches) == 6
    assert len(ids("out.jsonl")) == 1


FRAMES = """
from pathlib import Path
import pandas
from openai_batch import attach, embed, map, start
from openai_batch.testing import fake_provider
with fake_provider(lambda request: "yes", polls=1) as fake:
    frame = pandas.DataFrame({"text": ["a", "日本"]})
    print(list(map(frame, "Say: {{ text }}", model="m", progress=False)["answer"]))
    print(len(map(["x", "y"], model="m", progress=False)), embed(["x"], model="m", progress=False).shape)
print(*Path("temp").iterdir())
with fake_provider(lambda request: "yes") as fake:
    run = start(iter(["p", "q"]), model="m", name="nightly")
    run.wait()
    print([result.text for result in attach("nightly")], len(fake.batches))
"""


@pytest.mark.slow
def test_data_frames_and_the_fake_provider() -> None:
    """`map`, `embed`, `start` and `attach` work, and the fake provider ends while a job still has its registry open."""
    temp = Path("temp")
    temp.mkdir()
    out = on_windows(FRAMES, TMPDIR=str(temp.absolute()), TEMP=str(temp.absolute())).splitlines()
    assert out == ["['yes', 'yes']", "2 (1, 3)", "", "['yes', 'yes'] 1"]


MODULES = """
import importlib, pkgutil, openai_batch
for module in pkgutil.walk_packages(openai_batch.__path__, "openai_batch."):
    if not module.name.startswith("openai_batch.local.") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import openai_batch.local.launch, openai_batch.local.settings
"""


def test_every_module_can_be_imported_without_posix_modules() -> None:
    """Only the server of the local provider needs modules that Windows does not have."""
    on_windows(MODULES)


REFUSED = """
from support.command import inside, request, write
inside("submit", "in.jsonl", "-p", "local").failed(1, "does not run on Windows", "WSL")
inside("serve").failed(1, "does not run on Windows", "WSL")
inside("worker", "/store", "b", "--upstream", "http://127.0.0.1:9/v1").failed(1, "do not run on Windows", "WSL")
for name in ("nul", "CON.jsonl", "a:b.jsonl", "a.jsonl.", "a.jsonl "):
    told = inside("run", "in.jsonl", "-p", "faulty", "-o", name)
    told.failed(2, f"{name}: Windows does not allow this name", "another name")
"""


@pytest.mark.slow
def test_what_windows_cannot_do_is_refused_before_anything_is_sent(faulty: FaultServer, home: Path) -> None:
    """The local provider and reserved file names are refused."""
    write("in.jsonl", [request("a")])
    on_windows(REFUSED)
    assert not faulty.requests
    assert not (home / "state" / "local").exists()


KEEP = """
from types import SimpleNamespace
from openai_batch.errors import RegistryError
from openai_batch.jobs.keep_batch_id import keep_id
info = SimpleNamespace(id="batch:a/b", input_file_id="f")
print(keep_id(SimpleNamespace(id=1, provider="p"), info, RegistryError("full")))
"""


def test_the_id_of_a_batch_that_cannot_be_registered_is_kept(home: Path) -> None:
    """The id is written to a file, even if it has characters that file names on Windows cannot have."""
    assert "its id is in" in on_windows(KEEP)
    (note,) = (home / "state").glob("obatch-emergency-*.json")
    assert "batch:a/b" in note.read_text(encoding="utf-8")


OPEN = """
import threading
from pathlib import Path
from support.command import ids, inside, request, write
write("in.jsonl", [request("a")])
for name in ("out.jsonl", "changed.jsonl"):
    inside("run", "in.jsonl", "-p", "faulty", "-o", name).succeeded()
Path("changed.jsonl").write_text("mine")
write("more.jsonl", [request("b", text="Bye")])
with open("out.jsonl"), open("changed.jsonl"):
    for name in ("out.jsonl", "changed.jsonl"):
        words = ("run", "more.jsonl", "-p", "faulty", "-o", name, "--force")
        inside(*words).failed(1, f"cannot write {name}", "close the program that has it open")
scanner = open("changed.jsonl")
threading.Timer(0.7, scanner.close).start()
inside(*words).succeeded()
assert ids("changed.jsonl") == ["b"]
"""


@pytest.mark.slow
def test_an_output_that_another_program_has_open(faulty: FaultServer) -> None:
    """An output that another program has open is not replaced; once it is closed, the same command replaces it."""
    on_windows(OPEN)
    assert len(faulty.batches) == 2
    assert sorted(path.name for path in Path().iterdir()) == ["changed.jsonl", "in.jsonl", "more.jsonl", "out.jsonl"]


DAMAGED = """
from pathlib import Path
from support.command import inside, request, write
write("in.jsonl", [request("a"), request("b")])
inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
(kept,) = Path.home().glob("state/jobs/*/results/*")
whole = kept.read_bytes()
for damaged in (b"<html>", whole.replace(b"{", b"[", 1)):
    kept.write_bytes(damaged)
    first = inside("download", "-o", "again.jsonl", "--force")
    assert first.code != 0, first
    inside("download", "-o", "again.jsonl", "--force").succeeded()
    assert kept.read_bytes() == whole
"""


@pytest.mark.slow
def test_a_kept_file_that_is_damaged_is_downloaded_again(faulty: FaultServer) -> None:
    """A damaged result file can be replaced, since it is closed first."""
    on_windows(DAMAGED)
    assert len(faulty.batches) == 1
