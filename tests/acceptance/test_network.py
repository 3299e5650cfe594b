"""Network connections: local commands make none, and the proxy variables are respected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from acceptance.conftest import configure
from support.command import environment, ids, inside, invoke, plain, request, see, write
from support.proxy import HOST, proxy_to

from openai_batch.cli.completion_scripts import read_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import FaultServer
    from support.proxy import Proxy

ONLINE = {"sample", "recover", "serve", "worker", "providers test", "config edit"}
"""The commands that always connect or listen, and one that runs a program of the user."""

LOCAL = (
    "--version",
    "-h",
    "help exit-codes",
    "__complete jobs",
    "ls",
    "ls --json",
    "status 1",
    "status 2 --offline",
    "wait 1",
    "results 1",
    "report 1",
    "report 1 --html report.html",
    "download 1 -o again.jsonl",
    "download 1 -o more.jsonl --dry-run",
    "check in.jsonl -p faulty",
    "prepare prompts.txt -m gpt-4o-mini -o made.jsonl",
    "cost prompts.txt -p openai -m gpt-4o-mini",
    "stats in.jsonl",
    "export in.jsonl -o exported.jsonl",
    "import out.jsonl --input in.jsonl",
    "submit new.jsonl -p faulty --dry-run",
    "run new.jsonl -p faulty --dry-run",
    "retry 1 --dry-run",
    "cancel 2 --dry-run",
    "doctor",
    "providers",
    "providers show faulty",
    "providers add acme --base-url https://acme.example/v1",
    "providers rm acme",
    "config path",
    "config show",
    "config set provider faulty",
    "config unset provider",
    "prune --dry-run",
    "rm 1 --dry-run",
    "rm 1",
)

WATCHED = """
import json, sys
seen, codes = [], []
sys.addaudithook(lambda event, args: seen.append(event) if event in EVENTS else None)
EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"}
from openai_batch.__main__ import main
for words in json.loads(sys.argv[1]):
    sys.argv, before = ["obatch", *words.split()], len(seen)
    codes.append([words, main(), seen[before:]])
print("\\n" + json.dumps(codes))
"""


@pytest.mark.slow
def test_local_commands_connect_to_nothing(faulty: FaultServer) -> None:
    """Commands that need no network open no connection and look up no host."""
    write("in.jsonl", [request("a"), request("b")])
    write("new.jsonl", [request("c")])
    Path("prompts.txt").write_text("hi\n", encoding="utf-8")
    inside("run", "in.jsonl", "-p", "faulty", "-o", "out.jsonl").succeeded()
    inside("submit", str(write("long.jsonl", [request("d", "fault:steps=in_progress")])), "-p", "faulty").succeeded()
    commands = {command.name for command in read_commands() if command.name}
    assert {name for name in commands if any(f"{call} ".startswith(f"{name} ") for call in LOCAL)} == commands - ONLINE
    asked = len(faulty.requests)
    command = [sys.executable, "-c", WATCHED, json.dumps([*LOCAL, "status 2"])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    *local, online = json.loads(done.stdout.splitlines()[-1])
    assert [entry for entry in local if entry[1:] != [0, []]] == [], done.stderr
    assert "socket.connect" in online[2], "the hook sees a connection"
    assert len(faulty.requests) > asked


@pytest.fixture
def proxy(faulty: FaultServer, tmp_path: Path) -> Iterator[Proxy]:
    """Run a proxy that forwards HOST to the fault server, as the provider `acme`."""
    configure("acme", f"https://{HOST}/v1")
    with proxy_to(faulty.port, tmp_path) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_job_goes_through_a_proxy(faulty: FaultServer, proxy: Proxy, variable: str) -> None:
    """All requests go through the proxy, only the proxy gets its password, and SSL_CERT_FILE is trusted."""
    env = {variable: f"http://me:secret-word@127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(proxy.certificate)}
    write("in.jsonl", [request("a"), request("b")])
    result = invoke("run", "in.jsonl", "-p", "acme", "-o", "out.jsonl", env=env).succeeded()
    assert ids("out.jsonl") == ["a", "b"]
    assert {head.splitlines()[0] for head in proxy.heads} == {f"CONNECT {HOST}:443 HTTP/1.1"}
    assert all("proxy-authorization: basic" in head.lower() for head in proxy.heads)
    assert not any("authorization: bearer" in head.lower() for head in proxy.heads)
    assert not any("proxy-authorization" in each.headers for each in faulty.requests)
    assert "secret-word" not in result.out + result.err
    assert "completed" in plain(see("status", "1", env=env).succeeded().out)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_a_host_without_a_proxy(faulty: FaultServer, proxy: Proxy, variable: str) -> None:
    """Hosts in NO_PROXY and providers on this machine are reached without the proxy."""
    address = f"http://127.0.0.1:{proxy.port}"
    env = {"HTTPS_PROXY": address, "HTTP_PROXY": address, "ALL_PROXY": address}
    env["SSL_CERT_FILE"] = str(proxy.certificate)
    words = ("cancel", "batch_1", "-p", "acme")
    invoke(*words, env=env | {variable: f"other.example,{HOST}"}).failed(1, "cannot be reached")
    assert proxy.heads == []
    assert invoke(*words, env=env | {variable: "other.example"}).code == 6
    assert proxy.heads
    count = len(proxy.heads)
    invoke("run", str(write("in.jsonl", [request("a")])), "-p", "faulty", env=env).succeeded()
    assert len(proxy.heads) == count
    assert os.environ.get("HTTPS_PROXY") is None
    assert len(faulty.batches) == 1


@pytest.mark.slow
def test_a_certificate_that_is_not_trusted(faulty: FaultServer, proxy: Proxy) -> None:
    """Without SSL_CERT_FILE the proxy's certificate is refused, and nothing is sent."""
    env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
    invoke("cancel", "batch_1", "-p", "acme", env=env).failed(1, "certificate")
    assert faulty.requests == []
