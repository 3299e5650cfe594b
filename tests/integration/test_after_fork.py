"""A process that was forked uses no connection of the other one: not to the provider, and not to the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked on Windows")

CONNECTIONS = """
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai_batch import Provider


class Port(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b'{"data": [{"id": "%d", "object": "model"}]}' % self.client_address[1]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Port)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Provider(base_url=f"http://127.0.0.1:{server.server_port}/v1").get_client()


def port():
    return client.models.list().data[0].id


mine = port()
child = os.fork()
if not child:
    os._exit(10 + (port() == mine))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), port() == mine)
"""

REGISTRY = """
import os

from openai_batch.jobs.store.registry import Registry

registry = Registry()
with registry.writing() as db:
    db.execute("CREATE TABLE unfinished (id INTEGER)")
    child = os.fork()
    if not child:
        with registry.reading() as own:
            seen = own.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'unfinished'").fetchone()[0]
        os._exit(10 + seen)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run(program: str, folder: Path) -> str:
    """Run a program in a process of its own, and return what it prints."""
    state = {"XDG_STATE_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | state).stdout


def test_a_forked_process_has_its_own_connection(tmp_path: Path) -> None:
    """On a shared one, each process could read the answers to the requests of the other one."""
    assert run(CONNECTIONS, tmp_path) == "10 True\n"


def test_a_forked_process_opens_the_registry_again(tmp_path: Path) -> None:
    """With the connection of the other process, it would be in the middle of that one's transaction."""
    assert run(REGISTRY, tmp_path) == "10\n"
