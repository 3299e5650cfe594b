"""A simulated day of a provider for a real `obatch wait`, whose clock runs 1,000 times as fast as this process's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.plan import Fault, Plan

if TYPE_CHECKING:
    from pathlib import Path

    from support.faults import FaultServer

SPEED = 1000
"""Seconds of the waiting process in one second of this process."""


@dataclass(frozen=True)
class Episode:
    """A part of the day in which each poll fails; `begin` and `end` are shares of the day."""

    begin: float
    end: float
    fault: Fault
    away: bool = False


EPISODES = (
    Episode(0.10, 0.12, Fault("429", "300")),
    Episode(0.18, 0.20, Fault("500")),
    Episode(0.26, 0.28, Fault("reset")),
    Episode(0.34, 0.36, Fault("401")),
    Episode(0.42, 0.44, Fault("404")),
    Episode(0.50, 0.52, Fault("502")),
    Episode(0.56, 0.58, Fault("503", "200")),
    Episode(0.64, 0.67, Fault("close"), away=True),
    Episode(0.72, 0.73, Fault("html")),
    Episode(0.75, 0.76, Fault("cut")),
    Episode(0.78, 0.79, Fault("408")),
)
"""Every temporary failure of a provider, a gateway or a network, each for minutes of a day."""

PHASES = ((0.0, "validating"), (0.05, "in_progress"), (0.80, "moderating"), (0.85, "finalizing"))
"""The statuses of the batch, each with the share of the day at which it begins; the third is not a known status."""


@dataclass
class Day(Plan):
    """A plan that depends on the clock instead of the number of polls. `served` counts the faults by kind."""

    server: FaultServer | None = None
    seconds: float = 10.0
    begun: float = 0.0
    looks: int = 0
    served: dict[str, int] = field(default_factory=dict)
    early_polls: list[float] = field(default_factory=list)
    _told: tuple[float, float] | None = None
    _phase: int = 0
    _shown: int = 0

    @property
    def share(self) -> float:
        """The share of the day that has passed."""
        return (time.monotonic() - self.begun) / self.seconds

    def take(self, call: str) -> Fault | None:
        """Return the fault of this poll: that of the current episode, or of one that has not been served yet."""
        if call != "poll":
            return None
        self.looks += 1
        self.begun = self.begun or time.monotonic()
        now, share = time.monotonic(), self.share
        if self._told is not None and now - self._told[0] < self._told[1] / SPEED:
            self.early_polls.append(now - self._told[0])
        self._told = None
        for episode in EPISODES:
            kind = "away" if episode.away else episode.fault.kind
            if episode.begin <= share and (share < episode.end or kind not in self.served):
                if episode.away and kind in self.served:
                    continue
                self.served[kind] = self.served.get(kind, 0) + 1
                if episode.away:
                    self._leave((episode.end - episode.begin) * self.seconds)
                if episode.fault.arg:
                    self._told = now, float(episode.fault.arg)
                return episode.fault
        self._shown += 1
        return None

    def words(self, setting: str) -> list[str]:
        """Return the current phase as the only step, and none after the day; each phase is shown at least twice."""
        if setting != "steps":
            return []
        begins = [begin for begin, _ in PHASES] + [1.0]
        if self._phase < len(PHASES) and self._shown > 1 and self.share >= begins[self._phase + 1]:
            self._phase, self._shown = self._phase + 1, 0
        return [PHASES[self._phase][1]] * (self.looks + 10) if self._phase < len(PHASES) else []

    def _leave(self, seconds: float) -> None:
        assert self.server is not None
        self.server.stop_listening()
        back = threading.Timer(seconds, self.server.listen_again)
        back.daemon = True
        back.start()


def run_with_fast_clock(folder: Path, *words: str, limit: float) -> subprocess.CompletedProcess[str]:
    """Run `obatch` with a clock of SPEED, for at most `limit` seconds of this process."""
    program = shutil.which("faketime")
    assert program is not None
    command = [program, "-f", f"+0 x{SPEED}", sys.executable, "-m", "openai_batch", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit)
