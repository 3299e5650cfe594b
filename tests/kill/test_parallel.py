"""After a kill while several parts are sent, the same command ends with one batch for each part."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Moment, World, Zygote, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

PARTS = 5
RUN = ("run", "in.jsonl", "-o", "out.jsonl")
KILLS = 14
"""The number of crash points in a sample."""


def prepare(made: World, plan: str) -> None:
    """Write an input of several parts."""
    made.parts = PARTS
    made.configure(max_requests=2, parallel=4)
    made.write(plan, 2 * PARTS)


def passed(folder: Path, zygote: Zygote, plan: str) -> tuple[list[str], bytes]:
    """Return the crash points of a run without a kill, and its results."""
    with world(folder, zygote) as made:
        prepare(made, plan)
        ended = made.run(*RUN, points=str(made.log / "points"))
        assert ended.code == 0, ended
        made.check(ended)
        return ended.points, (made.work / "out.jsonl").read_bytes()


@pytest.mark.parametrize("plan", ["fault:rows=shuffled", "fault:create=made.reset*2;rows=shuffled"])
def test_killed_while_parts_are_sent(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], plan: str
) -> None:
    """SIGKILL before a statement, a send, a receive, a sync or a rename of any thread, once or twice."""
    points, expected = passed(tmp_path, zygote, plan)
    moments = range(1, len(points) + 1) if FULL else rng.sample(range(1, len(points) + 1), KILLS)
    uncertain = 0
    for number in moments:
        again = rng.choice((None, Moment(rng.randint(1, number))))
        with world(tmp_path, zygote) as made:
            prepare(made, plan)
            try:
                for moment in filter(None, (Moment(number), again)):
                    made.run(*RUN, moment=moment)
                ended = made.run_on(*RUN)
                made.check(ended)
            except AssertionError as exc:
                exc.add_note(f"killed at {number} ({points[number - 1]}), then {again}")
                raise
            if ended.code == 0:
                assert (made.work / "out.jsonl").read_bytes() == expected, number
            uncertain += ended.code == 7
    figures(kills=len(moments), of=len(points), uncertain=uncertain, doubles=0, losses=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_parts_are_sent(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], number: int
) -> None:
    """A signal ends the command soon with its exit code and no traceback, and nothing is cancelled."""
    points, expected = passed(tmp_path, zygote, "fault:rows=shuffled")
    moments = range(1, len(points) + 1) if FULL else rng.sample(range(1, len(points) + 1), 6)
    for place in moments:
        with world(tmp_path, zygote) as made:
            prepare(made, "fault:rows=shuffled")
            ended = made.run(*RUN, moment=Moment(place, signum=number))
            # The order of the points differs from run to run, so the command may have ended before this one.
            assert ended.code in (0, 128 + number, -number), (place, ended)
            assert not made.server.seen("POST", "/batches/.*/cancel")
            ended = made.run_on(*RUN)
            made.check(ended)
            assert ended.code == 7 or (made.work / "out.jsonl").read_bytes() == expected, place
    figures(signals=len(moments), of=len(points), doubles=0, losses=0)
