"""How workers are started: by a command, through Ray's Jobs API, and with a model server for each worker."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.command import COMMAND, environment
from support.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Cluster

OBATCH = shlex.join(COMMAND)
ECHO = Path(__file__).parents[2] / "support" / "echo.py"


def run(cluster: Cluster, *words: str) -> Any:
    """Run 20 prompts to the end."""
    output = cluster.folder / "answers.jsonl"
    done = cluster.run("run", str(cluster.prompts(20)), "-p", "cluster", "-m", "echo-1", "-o", str(output), *words)
    return done, output


@pytest.mark.slow
def test_a_command(cluster: Cluster) -> None:
    """The placeholders in the command are replaced by the store, the batch and the worker options."""
    script = f"{OBATCH} worker {{store}} {{batch}} {{options}} & echo {{name}} {{number}} {{workers}} >> {{store}}/said"
    cluster.configure(launcher="command", command=["sh", "-c", script])
    done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20
    name, number, workers = (cluster.store / "said").read_text().split()
    assert name.startswith("obatch-")
    assert (number, workers) == ("1", "2")


@pytest.mark.slow
def test_options_with_quotes(cluster: Cluster) -> None:
    """The command gets its options with quotes in environment variables too."""
    engine = ["sh", "-c", f"sleep 600 | {shlex.join([sys.executable, str(ECHO)])} --port $1", "it's", "{port}"]
    script = f'eval "{OBATCH} worker $OBATCH_STORE $OBATCH_BATCH $OBATCH_OPTIONS" &'
    cluster.configure(launcher="command", command=["sh", "-c", script], upstream=None, engine=engine)
    done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20


@pytest.mark.slow
def test_a_command_that_fails(cluster: Cluster) -> None:
    """The error output of the command is shown; running `obatch run` again uses the same batch."""
    cluster.configure(launcher="command", command=["sh", "-c", "echo no such queue >&2; exit 3"])
    done, output = run(cluster)
    done.failed(1, "the command that starts the workers failed (3): no such queue")
    cluster.configure()
    done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20
    assert len(list((cluster.store / "plans").iterdir())) == 1
    assert set(cluster.asked().values()) == {1}


def test_a_command_that_is_missing(cluster: Cluster) -> None:
    """A command that does not exist is an error, and nothing is written to the store."""
    cluster.configure(launcher="command", command=["no-such-program"])
    run(cluster)[0].failed(2, "there is no program no-such-program")
    assert not cluster.store.exists()


@pytest.mark.slow
def test_an_engine_beside_the_worker(cluster: Cluster) -> None:
    """The engine is started on a free port, and is stopped when the worker ends."""
    # The echo stops at the end of its standard input.
    engine = ["sh", "-c", f"sleep 600 | {shlex.join([sys.executable, str(ECHO)])} --port {{port}}"]
    cluster.configure(upstream=None, engine=engine, workers=1)
    done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20
    assert not cluster.asked()
    engine_log = next((cluster.folder / "state" / "workers").glob("*/*.log")).read_text()
    port = int(engine_log.partition(" on port ")[2].split()[0])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.slow
def test_an_engine_that_does_not_start(cluster: Cluster) -> None:
    """`status` shows the exit code of the engine."""
    cluster.configure(upstream=None, engine=["sh", "-c", "exit 9"], workers=1)
    done = run(cluster)[0].failed(5, "failed")
    assert "the engine ended with exit code 9" in cluster.run("status").out, done


class Ray(ThreadingHTTPServer):
    """The part of the Jobs API of Ray 2.60 that is used: a job runs its entrypoint in a process."""

    def __init__(self, env: dict[str, str], token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), RayHandler)
        self.env = env
        self.token = token
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}
        self.posts = 0
        self.page = ""  # the answer to every GET, if set
        self.busy = 0  # how many requests for a job get a 503
        self.lose: list[str] = []  # what to lose of each POST: "answer" or "request"

    @property
    def address(self) -> str:
        """Return the URL."""
        return f"http://127.0.0.1:{self.server_port}"


class RayHandler(BaseHTTPRequestHandler):
    """The routes of the Jobs API."""

    server: Ray

    def do_GET(self) -> None:
        """Return the version or a job."""
        if self.server.page:
            self.send(200, self.server.page)
            return
        if self.path == "/api/version":
            self.send(200, {"version": "4", "ray_version": "2.60.0"})
            return
        if self.server.busy:
            self.server.busy -= 1
            self.send(503, "Ray restarts")
            return
        job = self.server.jobs.get(self.path.rpartition("/")[2])
        if job is None:
            self.send(404, "Job does not exist")
            return
        code = job.poll()
        self.send(200, {"status": "RUNNING" if code is None else "FAILED" if code else "SUCCEEDED"})

    def do_POST(self) -> None:
        """Submit a job; answer 500 to an id that exists, as Ray does."""
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.posts += 1
        lost = self.server.lose.pop(0) if self.server.lose else ""
        if lost == "request":
            self.connection.close()
            return
        name = content["submission_id"]
        if name in self.server.jobs:
            self.send(500, f"Traceback: ValueError: Job with submission_id {name} already exists.")
            return
        words = shlex.split(content["entrypoint"])
        words[0] = sys.executable
        self.server.jobs[name] = subprocess.Popen(words, env=self.server.env)
        if lost == "answer":
            self.connection.close()
            return
        self.send(200, {"job_id": name, "submission_id": name})

    def send(self, status: int, content: Any) -> None:
        """Send an answer, or 401 if the token is wrong."""
        if self.server.token and self.headers.get("authorization") != f"Bearer {self.server.token}":
            status, content = 401, "Unauthorized"
        data = json.dumps(content).encode() if isinstance(content, dict) else content.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


FAKE_RAY = '''
"""Ray as far as the driver uses it: tasks are threads, and what they raise is tried again."""
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(16)
def init(): pass
class remote:
    def __init__(self, function): self.function, self.kinds = function, ()
    def options(self, *, max_retries, retry_exceptions, **other):
        assert max_retries == -1
        self.kinds = tuple(retry_exceptions)
        return self
    def remote(self, *words): return pool.submit(self.run, *words)
    def run(self, *words):
        while True:
            try: return self.function(*words)
            except self.kinds: pass
def get(futures): return [future.result() for future in futures]
'''


@pytest.fixture
def ray(cluster: Cluster) -> Iterator[Ray]:
    """Run the API, and configure the cluster to use it."""
    modules = cluster.folder / "modules"
    modules.mkdir()
    (modules / "ray.py").write_text(FAKE_RAY)
    env = environment(cluster.env)
    env["PYTHONPATH"] = f"{modules}:{env.get('PYTHONPATH', '')}"
    server = Ray(env)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster.configure(launcher="ray", address=server.address)
    yield server
    cluster.kill_workers()
    for job in server.jobs.values():
        job.kill()
        job.wait()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_ray(cluster: Cluster, ray: Ray) -> None:
    """One Ray job runs the batch, and its id contains the id of the batch."""
    done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20
    (plan,) = (cluster.store / "plans").iterdir()
    assert list(ray.jobs) == [f"obatch-{plan.stem}-1"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["answer", "request"])
def test_a_lost_answer_of_ray(cluster: Cluster, ray: Ray, lost: str) -> None:
    """If the answer to a submission is lost, there is still one Ray job."""
    ray.lose = [lost]
    done, output = run(cluster)
    if lost == "request":
        done.failed(1, "cannot be reached")
        done, output = run(cluster)
    done.succeeded()
    assert len(output.read_text().splitlines()) == 20
    assert len(ray.jobs) == 1
    assert set(cluster.asked().values()) == {1}


@pytest.mark.slow
def test_a_killed_ray_driver(cluster: Cluster, ray: Ray) -> None:
    """If the Ray job ends early, it is started again."""
    prompts = cluster.prompts(40, "!sleep=0.5")
    requests = cluster.folder / "requests.jsonl"
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()
    wait_until(lambda: len(cluster.workers()) == 2, "the workers")
    next(iter(ray.jobs.values())).kill()
    cluster.kill_workers()
    cluster.run("wait").succeeded()
    assert len(ray.jobs) == 2


@pytest.mark.slow
def test_a_token_for_ray(cluster: Cluster, ray: Ray) -> None:
    """The token comes from the variable in the profile and is stored in no file; a wrong one exits with code 4."""
    ray.token = "canary-of-ray-0123456789"
    cluster.configure(launcher="ray", address=ray.address, api_key_env="RAY_TOKEN")
    cluster.env["RAY_TOKEN"] = "wrong-token-0123456789"
    run(cluster)[0].failed(4, "refuses the token")
    cluster.env["RAY_TOKEN"] = ray.token
    run(cluster)[0].succeeded()
    for path in cluster.folder.rglob("*"):
        if path.is_file():
            assert ray.token.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_ray_that_does_not_answer_for_a_while(cluster: Cluster, ray: Ray) -> None:
    """`wait` continues if Ray answers with an error once, and does not use the proxy for this machine."""
    cluster.env["http_proxy"] = "http://127.0.0.1:9"
    prompts, requests = cluster.prompts(20, "!sleep=1"), cluster.folder / "requests.jsonl"
    cluster.run("prepare", str(prompts), "-m", "echo-1", "-o", str(requests)).succeeded()
    cluster.run("submit", str(requests), "-p", "cluster").succeeded()
    ray.busy = 1
    done = cluster.run("wait").succeeded()
    assert "answers HTTP 503: Ray restarts; trying again" in done.err


@pytest.mark.slow
def test_an_address_that_is_not_ray(cluster: Cluster, ray: Ray) -> None:
    """An address that is not Ray's is an error; an address with a password is refused without showing it."""
    ray.page = "<html>sign in</html>"
    run(cluster)[0].failed(1, "does not answer as Ray does: /api/version is no JSON object", "dashboard")
    cluster.configure(launcher="ray", address="http://me:canary0123456789@head:8265")
    done = run(cluster)[0].failed(2, "address contains a user name or password")
    assert "canary" not in done.err


def test_a_key_in_the_environment_of_ray_is_not_shown(cluster: Cluster) -> None:
    """`providers show` prints the name of the variable, but not its value."""
    environment_of_ray = {"env_vars": {"HF_TOKEN": "hf_canary0123456789"}}
    cluster.configure(launcher="ray", address="http://127.0.0.1:8265", runtime_env=environment_of_ray)
    for form in ([], ["--json"]):
        shown = cluster.run("providers", "show", "cluster", *form).succeeded().out
        assert "HF_TOKEN" in shown
        assert "hf_canary" not in shown
