"""What the kill tests share: a warm process that forks commands, seeds that are told, and figures that are kept."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from kill.sweep import World, Zygote, world
from support import full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FULL = full.FULL
"""Whether every moment is tried rather than a sample."""


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Start the warm process."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, zygote: Zygote) -> Iterator[World]:
    """Make a world for the test."""
    with world(tmp_path, zygote) as made:
        yield made


@pytest.fixture
def dice() -> random.Random:
    """Return a generator whose seed is told, and can be given in OBATCH_TEST_SEED."""
    seed = int(os.environ.get("OBATCH_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"OBATCH_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return what prints a test's figures, and keeps them where OBATCH_TEST_FIGURES says."""

    def tell(**numbers: int) -> None:
        full.keep_figures(request.node.name, **numbers)

    return tell


def lacking(reason: str) -> None:
    """Skip the test for want of something; where everything must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _posix() -> None:
    """Need the signals and system calls of POSIX."""
    if not hasattr(os, "fork"):
        pytest.skip("Windows has no fork")


@pytest.fixture
def strace() -> None:
    """Need strace, and the right to use it."""
    if shutil.which("strace") is None:
        lacking("strace is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        lacking("strace may not trace here")


@pytest.fixture
def root() -> None:
    """Need root, who can mount file systems and become another user."""
    if os.geteuid():
        lacking("only root can do this")
