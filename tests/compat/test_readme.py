"""The programs and pipelines of the documentation of 0.3.4, run unchanged against a real server.

Only the batch id of the resuming program is replaced, and sleeps are shortened.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from compat.conftest import point_at, python
from support.servers import echo_upstream, local_server

if TYPE_CHECKING:
    from collections.abc import Iterator

BASIC = """
import random
from openai_batch import Batch

with Batch() as batch:
    objects = ["cat", "robot", "coffee mug", "spaceship", "banana"]
    for i in range(100):
        batch.add_to_batch(
            model="meta-llama/Meta-Llama-3-8B-Instruct",
            temperature=0.7,
            max_completion_tokens=1000,
            messages=[{"role": "user", "content": f"Tell me a joke about a {random.choice(objects)}"}]
        )

    result, output_path, error_path = batch.submit_wait_download()
    print(f"Batch completed with status {result.status} and stored in {output_path}")
"""

EMBEDDINGS = """
from openai_batch import Batch

with Batch() as batch:
    documents = ["The quick brown fox jumps over the lazy dog",
                 "Machine learning models can process natural language"]

    for doc in documents:
        batch.add_to_batch(
            model="text-embedding-3-small",
            input=doc
        )

    result, output_path, error_path = batch.submit_wait_download()
"""

STEP_BY_STEP = """
from openai_batch import Batch
import time

batch = Batch(
    submission_input_file="batch_input.jsonl",
    output_file="batch_output.jsonl",
    error_file="batch_errors.jsonl"
)

objects = ["cat", "robot", "coffee mug", "spaceship", "banana"]
for i in range(5):
    batch.add_to_batch(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": f"Tell me a joke about a {objects[i]}"}]
    )

batch_id = batch.submit()
print(f"Batch submitted with ID: {batch_id}")

while True:
    status = batch.status()
    print(f"Batch status: {status.status}")

    if status.status in ["completed", "failed", "expired", "cancelled"]:
        break

    time.sleep(60)

output_path, error_path = batch.download()
print(f"Output saved to: {output_path}")
print(f"Errors saved to: {error_path}")
"""

PROVIDERS = """
from openai_batch import Batch

openai_batch = Batch()
openai_batch.add_to_batch(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Hello, world!"}]
)

parasail_batch = Batch()
parasail_batch.add_to_batch(
    model="meta-llama/Meta-Llama-3-8B-Instruct",
    messages=[{"role": "user", "content": "Hello, world!"}]
)
"""

NAMED_PROVIDER = """
from openai_batch import Batch
from openai_batch.providers import get_provider_by_name

provider = get_provider_by_name("parasail")

batch = Batch(provider=provider)
batch.add_to_batch(
    model="meta-llama/Meta-Llama-3-8B-Instruct",
    messages=[{"role": "user", "content": "Hello, world!"}]
)
"""

RESUMING = """
from openai_batch import Batch
import time

batch = Batch(batch_id="batch_abc123")

while True:
    status = batch.status()
    print(f"Batch status: {status.status}")

    if status.status == "completed":
        output_path, error_path = batch.download()
        print(f"Output saved to: {output_path}")
        break
    elif status.status in ["failed", "expired", "cancelled"]:
        print(f"Batch ended with status: {status.status}")
        break

    time.sleep(60)
"""

PIPELINE = """
set -eu -o pipefail
python -m openai_batch.example_prompts | \\
  python -m openai_batch.create_batch --model '{model}' > input.jsonl
python -m openai_batch.run {options} input.jsonl
"""

SHORT_SLEEPS = "import time; _sleep = time.sleep; time.sleep = lambda seconds: _sleep(min(seconds, 0.05))\n"


@pytest.fixture(autouse=True)
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a server for both providers, and shorten the sleeps of every program."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path/sitecustomize.py").write_text(SHORT_SLEEPS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    with echo_upstream(models=False) as echo, local_server(tmp_path / "server", upstream=echo.base_url) as server:
        point_at(server.base_url)
        monkeypatch.setenv("TEST_KEY", server.token)
        yield


def program(text: str, warning: str = "") -> list[str]:
    """Run a program and return its output lines; standard error may only contain `warning`."""
    Path("program.py").write_text(text, encoding="utf-8")
    done = python("program.py")
    assert warning in done.stderr
    assert bool(done.stderr) == bool(warning)
    return done.stdout.splitlines()


def results(name: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a results file in the order of their numbers; all must be successes."""
    lines = [json.loads(line) for line in Path(name).read_bytes().splitlines()]
    assert {line["response"]["status_code"] for line in lines} == {200}
    return sorted(lines, key=lambda line: int(line["custom_id"].removeprefix("line-")))


@pytest.mark.slow
def test_the_basic_program() -> None:
    """A hundred chats are answered, and the results have the name that is printed."""
    last = program(BASIC)[-1]
    name = last.removeprefix("Batch completed with status completed and stored in ")
    lines = results(name)
    assert len(lines) == 100
    assert "Tell me a joke about a" in lines[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert len(list(Path().glob("batch_submission_*.jsonl"))) == 1


@pytest.mark.slow
def test_the_embeddings_program() -> None:
    """Two documents become two vectors."""
    assert program(EMBEDDINGS)[-1] == "completed"
    (output,) = Path().glob("*-output.jsonl")
    assert [len(line["response"]["body"]["data"]) for line in results(output)] == [1, 1]


@pytest.mark.slow
def test_the_step_by_step_program_runs_twice() -> None:
    """Each step prints the expected output, and the program can be run again."""
    for warning in ("", "batch_output.jsonl.1"):
        lines = program(STEP_BY_STEP, warning)
        assert lines[0].startswith("Batch submitted with ID: batch")
        assert lines[-3:] == ["Batch status: completed", "Output saved to: batch_output.jsonl", "Errors saved to: None"]
        assert len(results("batch_output.jsonl")) == 5
    assert len(results("batch_output.jsonl.1")) == 5


@pytest.mark.parametrize("text", [PROVIDERS, NAMED_PROVIDER])
def test_the_provider_programs(text: str) -> None:
    """Batches that are not submitted leave their requests in separate files."""
    assert program(text) == []
    files = list(Path().glob("batch_submission_*.jsonl"))
    assert len(files) == text.count("add_to_batch")
    assert all(json.loads(path.read_bytes())["body"]["messages"][0]["content"] == "Hello, world!" for path in files)


@pytest.mark.slow
def test_the_resuming_program() -> None:
    """A batch is found by its id."""
    first = program(STEP_BY_STEP)
    batch_id = first[0].removeprefix("Batch submitted with ID: ")
    lines = program(RESUMING.replace("batch_abc123", batch_id))
    assert lines == ["Batch status: completed", f"Output saved to: {batch_id}-output.jsonl"]
    assert len(results(f"{batch_id}-output.jsonl")) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options"), [("gpt-4o-mini", ""), ("meta-llama/Meta-Llama-3-8B-Instruct", "-p parasail")]
)
def test_the_shell_examples(model: str, options: str) -> None:
    """The pipeline of the documentation answers a thousand example prompts."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = PIPELINE.format(model=model, options=options)
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (output,) = Path().glob("*-output.jsonl")
    assert len(results(output)) == 1000
    assert shlex.split(done.stdout.splitlines()[0])[0] == "Created"
