"""Fixtures for the tests of clusters: a store in a folder, its provider, and an echo upstream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.command import Result, invoke
from support.servers import EchoUpstream, echo_upstream, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Cluster:
    """A store, a provider that uses it, and the upstream that runs the requests."""

    folder: Path
    store: Path
    echo: EchoUpstream
    env: dict[str, str | None]
    place: str = ""
    """Where the store is, if it is not the folder."""

    def configure(self, **settings: Any) -> None:
        """Write the profile `cluster`; None removes a setting."""
        given = {
            "kind": "shards",
            "store": self.place or str(self.store),
            "upstream": self.echo.base_url,
            "launcher": "processes",
            "workers": 2,
            "rows_per_shard": 10,
            "concurrency": 4,
        } | settings
        lines = [f"{key} = {_toml(value)}" for key, value in given.items() if value is not None]
        (self.folder / "config.toml").write_text("\n".join(["[providers.cluster]", *lines]) + "\n")

    def run(self, *words: str) -> Result:
        """Run the command."""
        return invoke(*words, env=self.env)

    def prompts(self, count: int, directive: str = "") -> Path:
        """Write a file of numbered prompts, each with this directive for the echo."""
        path = self.folder / "prompts.txt"
        path.write_text("".join(f"say {number} {directive}\n" for number in range(count)))
        return path

    def workers(self) -> list[int]:
        """Return the process ids of the running workers."""
        listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        mine = [line for line in listed.splitlines() if f"worker {self.place or self.store}" in line]
        return [int(line.split()[0]) for line in mine]

    def starts(self) -> int:
        """Return how many times workers were started."""
        return sum(path.suffix == ".json" for path in self.objects("tries"))

    def kill_workers(self) -> None:
        """Kill all workers at once, as a crash would."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def asked(self) -> Counter[str]:
        """Return how many times each prompt was sent to the upstream."""
        return Counter(self.echo.calls())

    def objects(self, kind: str) -> list[Path]:
        """Return the objects of one kind of the only batch."""
        found = self.store.glob(f"batches/*/{kind}/**/*")
        return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Make a store and a state folder."""
    env: dict[str, str | None] = {
        "OBATCH_STATE_DIR": str(tmp_path / "state"),
        "OBATCH_CONFIG": str(tmp_path / "config.toml"),
    }
    with echo_upstream() as echo:
        made = Cluster(tmp_path, tmp_path / "store", echo, env)
        made.configure()
        yield made
        made.kill_workers()
        wait_until(lambda: not made.workers(), "the end of the workers")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value)
