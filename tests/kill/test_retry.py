"""A retry that is killed at any point sends the requests without a success once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Ended, Moment, World, Zygote, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow


PLAN = "fault:end=expired;rows=expired"
POINTS = 8


def prepare(made: World) -> None:
    """Run a job whose batch expires with half of its requests undone."""
    made.write(PLAN)
    assert made.run("submit", "in.jsonl").code == 0
    assert made.run("wait").code == 5


def finish_job(made: World) -> Ended:
    """Continue after a kill like a user: wait for what was started, and retry if nothing was."""
    ended = made.run("wait")
    if len(made.server.batches) == 1 and ended.code == 5:
        ended = made.run("retry")
        assert ended.code in (0, 7), ended
        ended = made.run("wait")
    return ended


def test_a_killed_retry_sends_once(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None]
) -> None:
    """After a kill of `retry` at any point, the requests without a success are sent in one more batch, not in two."""
    with world(tmp_path / "whole", zygote) as made:
        prepare(made)
        ended = made.run("retry", points=str(made.log / "points"))
        assert ended.code == 0, ended
        assert len(made.server.batches) == 2
        passed = ended.points
    points = list(range(1, len(passed) + 1))
    assert len(points) > POINTS
    tried = points if FULL else rng.sample(points, POINTS)
    uncertain = 0
    for point in tried:
        with world(tmp_path / str(point), zygote) as made:
            prepare(made)
            made.run("retry", moment=Moment(point))
            ended = finish_job(made)
            batches = list(made.server.batches.values())
            if ended.code == 7:
                uncertain += 1
                assert len(batches) <= 2, (point, ended)
                continue
            assert len(batches) == 2, (point, passed[point - 1], ended)
            assert batches[1].input.data.count(b"\n") == 3
            assert set(batches[1].input.data.splitlines()) < set(batches[0].input.data.splitlines())
            made.check_registry()
    figures(kills=len(tried), of=len(points), uncertain=uncertain, doubles=0, losses=0)
