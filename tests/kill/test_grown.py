"""A run of a grown input that is killed at any point pays for each row once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Moment, World, Zygote, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow


COMMAND = ("run", "t.txt", "-m", "fault:end=completed", "-o", "out.jsonl")
POINTS = 6


def write(made: World, *texts: str) -> None:
    """Write the input."""
    (made.work / "t.txt").write_text("".join(f"{text}\n" for text in texts))


def asked(made: World) -> list[str]:
    """Return the prompts of all batches."""
    lines = [line for batch in made.server.batches.values() for line in batch.input.data.splitlines()]
    return [json.loads(line)["body"]["messages"][-1]["content"] for line in lines]


@pytest.mark.parametrize("rows", ["abcdc", "bccd"], ids=["grown", "changed"])
def test_a_killed_run_of_a_grown_input(
    rows: str, tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None]
) -> None:
    """After a kill at any point, old rows are not sent again, new rows are sent once, and the results are the same."""
    with world(tmp_path / "whole", zygote) as made:
        write(made, "a", "b")
        assert made.run(*COMMAND).code == 0
        write(made, *rows)
        ended = made.run(*COMMAND, points=str(made.log / "points"))
        assert ended.code == 0, ended
        whole = (made.work / "out.jsonl").read_bytes()
        passed = ended.points
    points = list(range(1, len(passed) + 1))
    assert len(points) > POINTS
    tried = points if FULL else rng.sample(points, POINTS)
    uncertain = 0
    for point in tried:
        with world(tmp_path / str(point), zygote) as made:
            write(made, "a", "b")
            assert made.run(*COMMAND).code == 0
            write(made, *rows)
            made.run(*COMMAND, moment=Moment(point))
            ended = made.run_on(*COMMAND)
            if ended.code == 7:
                uncertain += 1
                assert sorted(asked(made)) in (list("ab"), list("abcd")), (point, ended)
                continue
            assert ended.code == 0, (point, passed[point - 1], ended)
            assert asked(made) == list("abcd"), (point, passed[point - 1], ended)
            assert (made.work / "out.jsonl").read_bytes() == whole, (point, passed[point - 1])
            kept = made.work / "out.jsonl.1"
            assert kept.exists() == ("a" not in rows), (point, passed[point - 1])
            made.check_registry()
            made.check_tidy()
    figures(kills=len(tried), of=len(points), uncertain=uncertain, doubles=0, losses=0)
