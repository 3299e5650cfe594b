"""Start the workers as processes of this machine. They continue when the command ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError
from openai_batch.files import paths
from openai_batch.files.locks import WINDOWS, hold, is_held
from openai_batch.files.private import make_private

from .launcher import State, worker_options

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.cluster.batches import Start
    from openai_batch.cluster.settings import ShardSettings


class ProcessLauncher:
    """Starts `obatch worker` several times. A worker holds a lock, which the system releases when the process ends."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Raise BatchError on Windows, where a child cannot be given a lock."""
        if WINDOWS:
            raise BatchError("workers cannot be started on Windows", hint="use WSL, or another launcher")

    def start(self, batch_id: str, number: int) -> None:
        """Start the workers that do not run yet."""
        self.check()
        folder = make_private(self._folder(batch_id))
        for worker in range(self._settings.workers):
            descriptor = _lock(folder / f"{number}-{worker}.lock")
            if descriptor is not None:
                try:
                    self._start_one(batch_id, worker, descriptor, folder / f"{number}-{worker}.log")
                finally:
                    os.close(descriptor)  # the process has its own, so the lock stays

    def state(self, batch_id: str, start: Start) -> State:
        """Return whether one of the workers runs; another machine's are not known."""
        if start.host != socket.gethostname():
            return State.UNKNOWN
        locks = list(self._folder(batch_id).glob(f"{start.number}-*.lock"))
        if not locks:
            return State.MISSING
        return State.RUNNING if any(map(is_held, locks)) else State.ENDED

    def _start_one(self, batch_id: str, worker: int, lock: int, log: Path) -> None:
        command = [sys.executable, "-m", "openai_batch", "worker", self._settings.store, batch_id]
        command += ["--index", str(worker), "--of", str(self._settings.workers), *worker_options(self._settings)]
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock],
            )

    def _folder(self, batch_id: str) -> Path:
        return paths.workers_dir() / batch_id


def _lock(path: Path) -> int | None:
    """Make a lock file and hold its lock; return None if there is one already: that worker was started."""
    try:
        return hold(path)
    except FileExistsError:
        return None
