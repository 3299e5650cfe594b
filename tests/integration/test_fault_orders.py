"""Every order of up to three faults creates at most one batch.

The workflow and the registry are the real ones; the provider is in memory.

A run is a series of choices: each call of the provider and each write to the registry may succeed or fail.
All series with up to three faults are tested. The clock is simulated, so waiting takes no time.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.workbench import request_line

from openai_batch.errors import ApiError, BatchError, UncertainError, UnreachableError
from openai_batch.jobs import workflow
from openai_batch.jobs.connections import Connections
from openai_batch.jobs.job_spec import JobSpec, SubmitOptions
from openai_batch.jobs.store.registry import Registry
from openai_batch.jobs.submit import start
from openai_batch.jobs.workflow import Workflow
from openai_batch.providers import create_once
from openai_batch.providers.batch_info import BatchInfo
from openai_batch.providers.port import OutcomeUnknown, RemoteFile
from openai_batch.providers.provider import Provider
from openai_batch.requests.batch_file import check_file
from openai_batch.requests.limits import Limits
from openai_batch.requests.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_batch.jobs.store.records import JobRecord, PartRecord, PartState
    from openai_batch.providers.attempt import Attempt

pytestmark = pytest.mark.slow


LATE, LAG, TIMEOUT, GRACE = 3.0, 3.0, 2.0, 6.0


class Crash(BaseException):
    """The process is killed here."""


class Clock:
    """A simulated clock that advances only when something sleeps."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def time(self) -> float:
        """Return the time."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds


class Script:
    """The choices of one run: which option was chosen at each point, and how many options there were."""

    def __init__(self, chosen: tuple[int, ...]) -> None:
        self._chosen = chosen
        self.options: list[int] = []

    def choose(self, *names: str) -> str:
        """Return one of the names; the first if the script has no choice for this point."""
        place = len(self.options)
        self.options.append(len(names))
        return names[self._chosen[place] if place < len(self._chosen) else 0]


class Provider_:  # noqa: N801 - set apart from the profile
    """A provider in memory that records every batch that it created."""

    def __init__(self, script: Script, clock: Clock, profile: Provider, *, lag: float = 0.0) -> None:
        self.provider = profile
        self.made: list[tuple[float, BatchInfo]] = []
        self.creates = 0
        self._script, self._clock, self._lag = script, clock, lag
        self._numbers = itertools.count(1)

    def make_ready(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def keep_running(self, _batch_id: str) -> None:
        """Do nothing: batches run by themselves."""

    def upload(self, source: Any, _filename: str) -> RemoteFile:
        """Accept a file, or fail, or crash."""
        fault = self._script.choose("well", "lost", "crash")
        source.read()
        if fault == "crash":
            raise Crash
        if fault == "lost":
            raise UnreachableError("lost")
        return RemoteFile(f"file-{next(self._numbers)}", size=len(source))

    def create(self, attempt: Attempt) -> BatchInfo:
        """Create a batch now, later or not at all, and answer or fail."""
        fault = self._script.choose(
            *("well", "refused", "unsent", "lost before", "lost after", "late", "crash before", "crash after")
        )
        self.creates += 1
        if fault == "refused":
            raise ApiError("no", status=429)
        if fault == "unsent":
            raise UnreachableError("nobody there", sent=False)
        if fault == "crash before":
            raise Crash
        if fault == "lost before":
            raise OutcomeUnknown("lost")
        at = self._clock.now + (LATE if fault == "late" else 0)
        number = next(self._numbers)
        metadata = attempt.marked_metadata()
        batch = BatchInfo(f"batch_{number}", "validating", input_file_id=attempt.file_id, metadata=metadata)
        self.made.append((at, batch))
        if fault == "crash after":
            raise Crash
        if fault in ("lost after", "late"):
            raise OutcomeUnknown("lost")
        return batch

    def batches(self, **_: object) -> Iterator[BatchInfo]:
        """List the batches that are visible now, or fail."""
        fault = self._script.choose("well", "fails", "crash")
        if fault == "crash":
            raise Crash
        if fault == "fails":
            raise ApiError("busy", status=503)
        yield from (batch for at, batch in self.made if at + self._lag <= self._clock.now)


class CrashingRegistry(Registry):
    """The real registry, with crashes before or after writes."""

    script: Script

    def set_part(self, part: PartRecord, *, expect: PartState | None = None, **values: Any) -> PartRecord:
        """Write a step, and crash before or after it if the script says so."""
        fault = self.script.choose("well", "crash before", "crash after")
        if fault == "crash before":
            raise Crash
        part = super().set_part(part, expect=expect, **values)
        if fault == "crash after":
            raise Crash
        return part


class PortConnections(Connections):
    """Connections that all use the provider in memory."""

    def __init__(self, port: Any) -> None:
        super().__init__(lambda source: source)
        self._port = port

    def _open(self, _: Provider) -> Any:
        return self._port


def workflow_at(port: Any, registry: Registry) -> Workflow:
    """Return the real workflow with the provider in memory."""
    made = Workflow(registry)
    made.connections = PortConnections(port)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    """Check a small input."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(request_line("a"))
    profile = Provider(name="port", base_url="http://port/v1", create_timeout=TIMEOUT, create_grace=GRACE)
    return JobSpec(check_file(open_source(str(path), tmp_path), Limits(), tmp_path), profile)


@pytest.fixture
def fast_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the state in memory if the machine has such a folder: thousands of runs sync thousands of times."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own inside it
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    monkeypatch.setenv("OBATCH_STATE_DIR", str(folder / "state"))
    yield folder / "state"
    shutil.rmtree(folder)


class Runner:
    """Runs one series of choices after another."""

    def __init__(self, spec: JobSpec, state: Path, clock: Clock) -> None:
        self.spec, self.state, self.clock = spec, state, clock
        self.runs = 0

    def walk(
        self, chosen: tuple[int, ...], *, lag: float = 0.0, runs: int = 6
    ) -> tuple[Script, Provider_, JobRecord | None]:
        """Submit again and again, as a user does, until it succeeds or is uncertain twice."""
        self.runs += 1
        shutil.rmtree(self.state, ignore_errors=True)
        script = Script(chosen)
        port = Provider_(script, self.clock, self.spec.provider, lag=lag)
        job, uncertain = None, 0
        for _ in range(runs):
            registry = CrashingRegistry()
            registry.script = script
            workflow = workflow_at(port, registry)
            try:
                job = start(workflow, self.spec)[0]
                break
            except UncertainError:
                uncertain += 1
                if uncertain > 1:
                    break
            except (BatchError, Crash):
                self.clock.sleep(1)
            finally:
                registry.close()
        return script, port, job


@pytest.fixture
def runner(spec: JobSpec, fast_state: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Make the workflow use the simulated clock."""
    clock = Clock()
    monkeypatch.setattr(create_once, "time", clock)
    monkeypatch.setattr(workflow, "time", clock)
    functions: list[Callable[..., Any]] = [create_once.create, create_once.reconcile]
    for function in functions:
        defaults = function.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "sleep", clock.sleep)
    return Runner(spec, fast_state, clock)


def successors(chosen: tuple[int, ...], options: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the series with one more fault after the last one."""
    for place in range(len(chosen), len(options)):
        for option in range(1, options[place]):
            yield (*chosen, *(0,) * (place - len(chosen)), option)


@pytest.mark.parametrize(("lag", "faults"), [(0.0, 3), (LAG, 2)])
def test_no_order_of_faults_makes_two_batches(runner: Runner, lag: float, faults: int) -> None:
    """Each run creates at most one batch, and a job that succeeds has exactly that batch."""
    waiting: list[tuple[int, ...]] = [()]
    done = adopted = 0
    while waiting:
        chosen = waiting.pop()
        script, port, job = runner.walk(chosen, lag=lag)
        assert len(port.made) <= 1, f"two batches by {chosen}"
        assert not (job is not None and not port.made), chosen
        if job is not None:
            adopted += 1
            assert job.batch_ids == [port.made[0][1].id], chosen
        else:
            assert not port.made, f"batch lost by {chosen}"
        done += 1
        if sum(map(bool, chosen)) < faults:
            waiting.extend(successors(chosen, script.options))
    assert done > 200
    assert adopted > 100, (done, adopted)


def test_the_search_finds_a_planted_fault(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """If lost batches are not looked for and may be resubmitted, two batches are created."""
    monkeypatch.setattr(create_once, "find_all", lambda _api, _attempt: [])

    def walk(chosen: tuple[int, ...]) -> int:
        shutil.rmtree(runner.state, ignore_errors=True)
        port = Provider_(Script(chosen), runner.clock, runner.spec.provider)
        for _ in range(2):
            registry = Registry()
            workflow = workflow_at(port, registry)
            try:
                start(workflow, runner.spec, SubmitOptions(resubmit_uncertain=True))
            except (BatchError, Crash):
                pass
            finally:
                registry.close()
        return len(port.made)

    # The choices are for the first list, the upload, and the create.
    assert max(walk((0, 0, fault)) for fault in range(8)) == 2
