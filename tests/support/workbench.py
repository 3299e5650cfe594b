"""Jobs for the fault server, run with the real workflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openai_batch.jobs.collect import Collected, collect
from openai_batch.jobs.job_spec import JobSpec
from openai_batch.jobs.reporter import Reporter
from openai_batch.jobs.store import job_folder
from openai_batch.jobs.store.registry import Registry
from openai_batch.jobs.submit import start
from openai_batch.jobs.workflow import Workflow
from openai_batch.providers import get_provider_by_name
from openai_batch.providers.openai_api import OpenAIBatchApi
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from support.faults import FaultServer

    from openai_batch.jobs.store.records import JobRecord


class RecordingReporter(Reporter):
    """A reporter that records its messages."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Record a note."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Record a warning."""
        self.warnings.append(text)


@dataclass
class Workbench:
    """A provider that fails as planned, with its configuration, inputs and jobs."""

    server: FaultServer
    folder: Path
    home: Path
    reporter: RecordingReporter = field(default_factory=RecordingReporter)
    workflows: list[Workflow] = field(default_factory=list)

    def configure(self, **values: Any) -> None:
        """Write the configuration, with long timeouts for creates, so that a slow machine changes nothing."""
        table = {"base_url": self.server.base_url, "api_key_env": "FAULTY_KEY"}
        table |= {"create_timeout": 30, "create_grace": 30} | values
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        (self.home / "config.toml").write_text("\n".join(["[providers.faulty]", *lines, ""]))

    def use_short_timeouts(self) -> None:
        """Set short timeouts for a create and the search for its batch, for tests where both fail anyway."""
        self.configure(create_timeout=0.5, create_grace=0.1)

    def workflow(self) -> Workflow:
        """Return a new workflow, as in a new process."""
        workflow = Workflow(Registry(), self.reporter)
        self.workflows.append(workflow)
        return workflow

    def api(self) -> OpenAIBatchApi:
        """Return a new connection."""
        return OpenAIBatchApi(get_provider_by_name("faulty"))

    def write(self, plan: str, requests: int = 4, name: str = "in.jsonl") -> Path:
        """Write an input whose requests have the plan as their model."""
        path = self.folder / name
        path.write_bytes(b"".join(request_line(f"id-{n}", plan) for n in range(requests)))
        return path

    def spec(self, plan: str, requests: int = 4, name: str = "in.jsonl") -> JobSpec:
        """Check an input with that plan, and return its job spec."""
        provider = get_provider_by_name("faulty")
        path = self.write(plan, requests, name)
        folder = self.folder / f"work-{name}"
        folder.mkdir(exist_ok=True)
        return JobSpec(check_file(open_source(str(path), folder), provider.limits, folder), provider)

    def submit(self, plan: str, **options: Any) -> JobRecord:
        """Submit an input with that plan in a new workflow."""
        return start(self.workflow(), self.spec(plan), **options)[0]

    def run(self, plan: str, requests: int = 4) -> Collected:
        """Submit, wait and collect into `out.jsonl`."""
        workflow = self.workflow()
        job = workflow.wait(start(workflow, self.spec(plan, requests))[0], timeout=60)
        return collect(workflow, job, self.out)

    def forget_downloads(self, job: JobRecord) -> None:
        """Delete the downloaded files that are kept with a job."""
        shutil.rmtree(job_folder.folder_of(job) / job_folder.RESULTS)

    @property
    def out(self) -> Path:
        """The result file of `run`."""
        return self.folder / "out.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """Return the results in that file."""
        return [json.loads(line) for line in self.out.read_bytes().split(b"\n") if line]

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Start the command in its own process."""
        command = [sys.executable, "-m", "openai_batch", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder)

    def close(self) -> None:
        """Close the workflows."""
        for workflow in self.workflows:
            workflow.close()


def request_line(custom_id: str, model: str = "m", **body: Any) -> bytes:
    """Return one line of a batch input."""
    body = {"model": model, "messages": [{"role": "user", "content": f"ask {custom_id}"}], **body}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"
