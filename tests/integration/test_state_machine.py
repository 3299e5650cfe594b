"""Random sequences of submits, faults, lost registries and recoveries create one batch per input."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.faults import fault_server
from support.full import FULL
from support.workbench import Workbench

from openai_batch.errors import BatchError, UncertainError
from openai_batch.jobs.collect import collect
from openai_batch.jobs.recover import recover
from openai_batch.jobs.submit import start
from openai_batch.providers import get_provider_by_name

if TYPE_CHECKING:
    from collections import Counter

    from openai_batch.jobs.job_spec import JobSpec

pytestmark = pytest.mark.slow


FAULTS = (
    *("create=made.reset", "create=made.close", "create=made.500", "create=made.502", "create=made.cut"),
    *("create=made.html", "create=made.empty", "create=made.409", "create=401", "create=429", "create=413"),
    *("upload=500", "upload=reset", "list=500*2;create=made.reset", "poll=500*2", "create=late:1", "steps=in_progress"),
)


class Walk(RuleBasedStateMachine):
    """The real workflow with a real registry and a real socket; the server records what it did."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self._old = dict(os.environ)
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {
            "OBATCH_STATE_DIR": str(home / "state"),
            "OBATCH_CONFIG": str(home / "config.toml"),
            "FAULTY_KEY": "sk-walk-0123456789",
        }
        self.server = self._stack.enter_context(fault_server())
        self.workbench = Workbench(self.server, home, home)
        self.workbench.configure(create_timeout=5, create_grace=3)
        self.orders: list[JobSpec] = []

    def teardown(self) -> None:
        """Finish every submission, and check that none has two batches."""
        try:
            for spec in self.orders:
                self._finish(spec)
            assert max(self._batches().values(), default=0) <= 1
        finally:
            self.workbench.close()
            self._stack.close()
            os.environ.clear()
            os.environ.update(self._old)

    @rule(fault=st.sampled_from(FAULTS))
    def order(self, fault: str) -> None:
        """Submit a new input with this fault."""
        number = len(self.orders) + 1
        self.orders.append(self.workbench.spec(f"fault:{fault}", number, f"in-{number}.jsonl"))
        self._submit(self.orders[-1])

    @rule(data=st.data())
    def order_the_same_again(self, data: st.DataObject) -> None:
        """Submit the same input again, as another process would."""
        if self.orders:
            self._submit(data.draw(st.sampled_from(self.orders)))

    @rule()
    def lose_the_registry(self) -> None:
        """Delete the registry, and recover the batches from the provider."""
        (self.workbench.home / "state" / "registry.db").unlink(missing_ok=True)
        with contextlib.suppress(BatchError):
            recover(self.workbench.workflow(), [get_provider_by_name("faulty")])

    @rule()
    def look(self) -> None:
        """Refresh every job."""
        workflow = self.workbench.workflow()
        for job in workflow.registry.jobs():
            with contextlib.suppress(BatchError):
                workflow.refresh(job)

    @invariant()
    def no_order_has_two_batches(self) -> None:
        """Check after every step that no input has two batches."""
        assert max(self._batches().values(), default=0) <= 1, self._batches()

    def _submit(self, spec: JobSpec) -> None:
        with contextlib.suppress(BatchError):
            start(self.workbench.workflow(), spec)

    def _finish(self, spec: JobSpec) -> None:
        for _ in range(6):
            workflow = self.workbench.workflow()
            try:
                job = workflow.wait(start(workflow, spec)[0], timeout=60)
            except UncertainError:
                return
            except BatchError:
                continue
            done = collect(workflow, job, self.workbench.folder / f"out-{spec.batch_file.sha256[:8]}.jsonl")
            assert done.tally.succeeded
            assert done.tally.requests == spec.batch_file.report.requests
            assert self._batches()[spec.batch_file.path.read_bytes()] == 1
            return
        raise AssertionError("the order never came to its end")

    def _batches(self) -> Counter[bytes]:
        from collections import Counter

        return Counter(batch.input.data for batch in self.server.batches.values())


def test_random_walks_create_no_second_batch() -> None:
    """Random sequences of submits, repeats, lost registries and refreshes create no second batch."""
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=200 if FULL else 8,
            stateful_step_count=12 if FULL else 6,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
