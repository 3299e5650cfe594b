"""Fixtures of the kill tests: a process that forks commands, seeds that are printed, and figures that are kept."""

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
"""Whether every moment is tested instead of a sample."""


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Start the process that forks commands."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, zygote: Zygote) -> Iterator[World]:
    """Make a world for the test."""
    with world(tmp_path, zygote) as made:
        yield made


@pytest.fixture
def rng() -> random.Random:
    """Return a random generator whose seed is printed, and can be set with OBATCH_TEST_SEED."""
    seed = int(os.environ.get("OBATCH_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"OBATCH_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that prints figures of the test, and writes them to the file in OBATCH_TEST_FIGURES."""

    def print_figures(**numbers: int) -> None:
        full.keep_figures(request.node.name, **numbers)

    return print_figures


def skip_or_fail(reason: str) -> None:
    """Skip the test because something is missing; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _posix() -> None:
    """Skip the tests without POSIX signals and system calls."""
    if not hasattr(os, "fork"):
        pytest.skip("Windows has no fork")


@pytest.fixture
def strace() -> None:
    """Skip the test without strace or the permission to use it."""
    if shutil.which("strace") is None:
        skip_or_fail("strace is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        skip_or_fail("strace may not trace here")


@pytest.fixture
def root() -> None:
    """Skip the test without root, which can mount file systems and become another user."""
    if os.geteuid():
        skip_or_fail("only root can do this")
