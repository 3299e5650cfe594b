"""Start the workers with a command of the user, such as `sbatch` or `kubectl`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, ConfigError

from .launcher import State, worker_options

if TYPE_CHECKING:
    from openai_batch.cluster.batches import Start
    from openai_batch.cluster.settings import ShardSettings

_FAILED = "the command that starts the workers failed"
_MOST_SAID = 1000
"""Bytes of its output that are shown if it fails."""

_SECONDS = 300
"""Seconds that the command may take: it submits work, and does not do it."""


class CommandLauncher:
    """Runs a command once for each start.

    `{store}`, `{batch}`, `{name}`, `{number}` and `{workers}` in its words are replaced, and `{options}` by the options
    of the workers, quoted for a shell. OBATCH_STORE and so on in its environment are the same, for a shell that would
    need more quotes. What it starts must run `obatch worker` as often as `{workers}` says.
    """

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Raise ConfigError if there is no such program."""
        program = self._settings.command[0]
        if shutil.which(program) is None:
            raise ConfigError(f"there is no program {program}, which starts the workers", hint="check `command`")

    def start(self, batch_id: str, number: int) -> None:
        """Run the command. Raises BatchError if it fails."""
        self.check()
        values = {
            "store": self._settings.store,
            "batch": batch_id,
            "name": f"obatch-{batch_id[-12:]}-{number}",
            "number": str(number),
            "workers": str(self._settings.workers),
            "options": shlex.join(worker_options(self._settings)),
        }
        environment = os.environ | {f"OBATCH_{name.upper()}": value for name, value in values.items()}
        words = []
        for word in self._settings.command:
            for name, value in values.items():
                word = word.replace(f"{{{name}}}", value)  # noqa: PLW2901 - filled in step by step
            words.append(word)
        with tempfile.TemporaryFile() as output:  # no pipe: what it starts may keep that open
            try:
                code = subprocess.run(  # noqa: S603 - the user's
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    timeout=_SECONDS,
                    check=False,
                ).returncode
            except OSError as exc:
                raise BatchError(f"{_FAILED}: {exc.strerror}", hint="check `command`") from exc
            except subprocess.TimeoutExpired:
                hint = "it must submit the work, and not wait for it"
                raise BatchError(f"{_FAILED}: it did not end within {_SECONDS} s", hint=hint) from None
            if code:
                output.seek(-min(output.tell(), _MOST_SAID), os.SEEK_END)
                said = output.read().decode("utf-8", "replace").strip().splitlines()
                raise BatchError(f"{_FAILED} ({code}): {said[-1] if said else 'it said nothing'}", details=said[:-1])

    def state(self, batch_id: str, start: Start) -> State:  # noqa: ARG002 - the signs of life say it
        """Return that it is unknown: the signs of life of the workers say it."""
        return State.UNKNOWN
