"""Full or read-only disks, and folders of other users: the command stops before it pays, and continues later."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kill.conftest import FULL
from kill.sweep import Ended, Moment, World, Zygote, relevant, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow


NOBODY = 65534


@contextlib.contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    """Mount a file system at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"nothing can be mounted here: {done.stderr}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Fill a file system except for `free` bytes, and return the file that fills it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(bytes(1 << 12))
    size = max(0, filler.stat().st_size - free)
    os.truncate(filler, size)
    return filler


def stopped(ended: Ended, code: int = 1) -> Ended:
    """Assert that a command failed with an error and a hint."""
    assert ended.code == code, ended
    assert re.search(r"^error: .+", ended.err, re.MULTILINE), ended
    assert re.search(r"^hint: .+", ended.err, re.MULTILINE), ended
    return ended


def kept(made: World, ended: Ended) -> None:
    """Assert that a batch that the registry does not contain is shown, and that its id is stored elsewhere."""
    for batch in made.server.batches:
        assert batch in ended.err, ended
        places = [made.state, made.work, made.log]
        notes = [path for place in places for path in place.glob("obatch-emergency-*.json")]
        assert any(batch in note.read_text() for note in notes), (notes, ended)


@pytest.mark.usefixtures("root")
def test_the_state_disk_is_full(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None]
) -> None:
    """With any free space on a disk of 1 MB, nothing is paid without a report; with more space, it continues."""
    sizes = [4096 * n for n in range(40)]
    sizes = sizes if FULL else [0, *rng.sample(sizes[1:], 7)]
    failed = 0
    for free in sizes:
        with world(tmp_path, zygote) as made, mounted(made.state, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"):
            made.write()
            filler = fill(made.state, free)
            ended = made.run("submit", "in.jsonl")
            if ended.code:
                failed += 1
                kept(made, stopped(ended))
            filler.unlink()
            ended = made.run("run", "in.jsonl", "-o", "out.jsonl")
            assert ended.code == 0, (free, ended)
            made.check(ended)
    assert failed
    figures(disks=len(sizes), stopped=failed, doubles=0, losses=0)


@pytest.mark.usefixtures("root")
def test_the_output_disk_is_full(here: World) -> None:
    """Without space for the results nothing is left behind, and they can be downloaded when there is space."""
    here.write(requests=300)
    assert here.run("submit", "in.jsonl").code == 0
    with mounted(here.work / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as small:
        for free in (0, 8 << 10, 32 << 10):
            filler = fill(small, free)
            ended = stopped(here.run("download", "-o", "small/out.jsonl"))
            assert "small/out.jsonl: No space left" in ended.err, ended
            assert list(small.iterdir()) == [filler]
            filler.unlink()
        assert here.run("download", "-o", "small/out.jsonl").code == 0
        assert (small / "out.jsonl").read_bytes().count(b"\n") == 300
    assert len(here.server.batches) == 1


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_the_registry_cannot_be_written(
    tmp_path: Path, zygote: Zygote, rng: random.Random, figures: Callable[..., None], call: str
) -> None:
    """If the registry cannot be written from any moment on, nothing is paid unreported, and it can continue later."""
    with world(tmp_path, zygote) as made:
        made.write()
        log = made.log / "trace"
        assert made.run("submit", "in.jsonl", trace=log).code == 0
        numbers = [number for name, number in relevant(log, made) if name == call]
    numbers = numbers if FULL else sorted(rng.sample(numbers, 10))
    paid = failed = 0
    for number in numbers:
        with world(tmp_path, zygote) as made:
            made.write()
            registry = made.state / "registry.db"
            paths = [registry, Path(f"{registry}-journal")]
            moment = Moment(number, call, error="ENOSPC" if call == "pwrite64" else "EIO", lasting=True)
            ended = made.run("submit", "in.jsonl", moment=moment, paths=paths)
            if ended.code:
                failed += 1
                kept(made, stopped(ended))
                paid += len(made.server.batches)
            made.check(made.run_on("submit", "in.jsonl"))
            assert not (paid and not made.server.batches)
    assert failed
    figures(faults=len(numbers), stopped=failed, after_the_creation=paid, doubles=0, losses=0)


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "error"), [("write", "ENOSPC"), ("fsync", "EIO"), ("link", "ENOSPC")])
def test_the_results_cannot_be_written(tmp_path: Path, zygote: Zygote, call: str, error: str) -> None:
    """A failed write, sync or link of the results is reported, and leaves no file with their name."""
    with world(tmp_path, zygote) as made:
        made.write()
        assert made.run("submit", "in.jsonl").code == 0
        log = made.log / "trace"
        assert made.run("download", "-o", "out.jsonl", trace=log).code == 0
        expected = (made.work / "out.jsonl").read_bytes()
        numbers = [number for name, number in relevant(log, made) if name == call]
    assert numbers
    for number in numbers:
        with world(tmp_path, zygote) as made:
            made.write()
            assert made.run("submit", "in.jsonl").code == 0
            ended = made.run("download", "-o", "out.jsonl", moment=Moment(number, call, error=error))
            if ended.code:  # a folder that cannot be synced is not an error
                assert os.strerror(getattr(errno, error)) in stopped(ended).err
                assert not (made.work / "out.jsonl").exists()
                assert not list(made.work.glob(".*"))
            ended = made.run("download", "-o", "out.jsonl")
            assert ended.code == 0, (number, ended)
            assert (made.work / "out.jsonl").read_bytes() == expected


def test_standard_output_is_full(here: World) -> None:
    """If standard output is full, the error says so, and the output can be requested again."""
    here.write()
    assert here.run("submit", "in.jsonl").code == 0
    for words in (("download", "-o", "-"), ("ls",), ("status", "--json"), ("wait", "-q")):
        ended = stopped(here.run(*words, out="/dev/full"))
        assert "No space left on device" in ended.err, ended
    assert here.run("download", "-o", "-").out.count("\n") == 6
    here.check_tidy()


@pytest.mark.usefixtures("root")
def test_read_only_disks(here: World) -> None:
    """On a read-only disk nothing is sent, finished jobs are listed, and results are not downloaded."""
    here.write()
    here.state.mkdir()
    with mounted(here.state, "--bind", str(here.state)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(here.state)], check=True)
        stopped(here.run("submit", "in.jsonl"))
    assert not here.server.requests
    assert here.run("submit", "in.jsonl").code == 0
    closed = here.work / "closed"
    with mounted(closed, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        asked = len(here.server.requests)
        ended = stopped(here.run("download", "-o", "closed/out.jsonl"))
        assert "closed/out.jsonl" in ended.err
        assert len(here.server.requests) <= asked + 1, "results were fetched that have no place to go"
    with mounted(here.state, "--bind", str(here.state)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(here.state)], check=True)
        assert here.run("ls", "-q").out == "1\n"
        stopped(here.run("run", "in.jsonl", "-o", "out.jsonl"))
    ended = here.run("run", "in.jsonl", "-o", "out.jsonl")
    assert ended.code == 0, ended
    here.check(ended)


@pytest.mark.usefixtures("root")
def test_folders_of_another_user(zygote: Zygote) -> None:
    """Without the permission to write or read the state folder, the command reports that, and sends nothing."""
    probe = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", sys.executable, "-c"]
    code = "import typer._click.decorators, openai_batch.cli.app, openai_batch.jobs.workflow, openai"
    if subprocess.run([*probe, code], capture_output=True, check=False, cwd="/").returncode:
        pytest.skip("the package cannot be read by another user here")
    folder = Path(tempfile.mkdtemp(prefix="obatch-test-"))
    folder.chmod(0o755)
    try:
        with world(folder, zygote) as made:
            made.write()
            made.log.chmod(0o777)
            ended = stopped(made.run("submit", "in.jsonl", user=NOBODY))
            assert str(made.state) in ended.err
            assert not made.server.requests
            assert made.run("submit", "in.jsonl").code == 0
            asked = len(made.server.requests)
            for words in (("ls",), ("submit", "in.jsonl"), ("download", "1")):
                stopped(made.run(*words, user=NOBODY), 2)
            assert len(made.server.requests) == asked
            made.state.chmod(0o777)
            stopped(made.run("ls", user=NOBODY), 2)
            assert (made.state / "registry.db").exists()
    finally:
        shutil.rmtree(folder)


def test_a_limit_on_the_size_of_files(tmp_path: Path, zygote: Zygote) -> None:
    """With `ulimit -f` a command stops with an error, and without the limit it continues."""
    for limit in (1, 600, 4096, 20_000, 60_000, 100_000):
        with world(tmp_path, zygote) as made:
            made.write(requests=300)
            ended = made.run("run", "in.jsonl", "-o", "out.jsonl", file_limit=limit)
            assert ended.code in (0, 1), ended
            if ended.code:
                assert not (made.work / "out.jsonl").exists()
                assert limit < 600 or "error:" in ended.err, ended  # the error message has the same limit
            ended = made.run_on("run", "in.jsonl", "-o", "out.jsonl")
            assert ended.code == 0, (limit, ended)
            made.check(ended)
            assert (made.work / "out.jsonl").read_bytes().count(b"\n") == 300
