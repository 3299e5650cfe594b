"""Where files are kept on this machine. No other module uses platformdirs.

Reading a path creates nothing; `private_dir` does, with mode 0700.
"""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.errors import UsageError

from .private import GROUP_AND_OTHERS_WRITE, check_own, make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "obatch"

_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.glusterfs"}
)

_CHOSEN: ContextVar[Path | None] = ContextVar("state_dir", default=None)


@contextlib.contextmanager
def state_at(folder: Path | None) -> Iterator[None]:
    """Within the block, make `state_dir` return `folder` (None: its own choice), in this thread or task only."""
    token = _CHOSEN.set(folder)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def config_file() -> Path:
    """Return the path of the configuration file (`OBATCH_CONFIG` overrides it)."""
    return _chosen("OBATCH_CONFIG") or _usual("config", "OBATCH_CONFIG") / "config.toml"


def config_is_chosen() -> bool:
    """Return whether the user has chosen the configuration file, which then must exist."""
    return bool(os.environ.get("OBATCH_CONFIG"))


def state_dir() -> Path:
    """Return the folder of the registry and of running work (`state_at` overrides it, then `OBATCH_STATE_DIR`)."""
    return _CHOSEN.get() or _chosen("OBATCH_STATE_DIR") or _usual("state", "OBATCH_STATE_DIR")


def cache_dir() -> Path:
    """Return the folder of files that can be downloaded again (`OBATCH_CACHE_DIR` overrides it)."""
    return _chosen("OBATCH_CACHE_DIR") or _usual("cache", "OBATCH_CACHE_DIR")


def registry_file() -> Path:
    """Return the path of the job registry, a SQLite database."""
    return state_dir() / "registry.db"


def jobs_dir() -> Path:
    """Return the folder of the jobs' files."""
    return state_dir() / "jobs"


def workers_dir() -> Path:
    """Return the folder with the locks and logs of workers that were started here: one folder for each batch."""
    return state_dir() / "workers"


def job_dir(uid: str) -> Path:
    """Return the folder of a job's files. Its name is the job's mark: another registry may have the same numbers."""
    return jobs_dir() / uid


def job_lock(uid: str) -> Path:
    """Return the file that is locked while the parts of a job are sent."""
    return job_dir(uid) / "lock"


def local_dir() -> Path:
    """Return the folder of the local provider's server: its store, files, log and address."""
    return state_dir() / "local"


def network_filesystem(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the network file system that `path` is on, or None. SQLite's locks fail on some of them."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    location, best, kind = str(path.absolute()), "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point, file_system = left.split(" ")[4].replace("\\040", " "), right.split(" ")[0]
        inside = location == point or location.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, file_system
    return kind if kind in _NETWORK or kind.startswith("fuse.sshfs") else None


def private_dir(path: Path) -> Path:
    """Make `path` a folder that only its owner can enter, and return it.

    Raises BatchError if it cannot be made, UsageError if another user could change it, or a folder of ours above it.
    """
    above = [path, *path.parents]
    root = next((folder for folder in (state_dir(), cache_dir()) if folder in above), path)
    for folder in reversed(above[: above.index(root) + 1]):
        check_folder(make_private(folder))
    return path


def check_folder(path: Path) -> None:
    """Raise UsageError if `path` is a folder that another user could change."""
    check_own(
        path,
        GROUP_AND_OTHERS_WRITE,
        "set another folder: OBATCH_STATE_DIR for jobs, OBATCH_CACHE_DIR for models",
    )


def tiktoken_folder() -> Path | None:
    """Return where the library tiktoken stores its encodings; None if it must not store them."""
    import tempfile

    given = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if given is None:
        return Path(tempfile.gettempdir(), "data-gym-cache")
    return Path(given) if given else None


def _chosen(variable: str) -> Path | None:
    """Return the path in an environment variable, or None. Raises UsageError for an unknown `~`."""
    given = os.environ.get(variable)
    try:
        return Path(given).expanduser() if given else None
    except RuntimeError:
        raise UsageError(f"{variable}: no home folder is known for {given}", hint="write the full path") from None


def _usual(kind: str, variable: str) -> Path:
    """Return this user's folder for `kind`. Raises UsageError if there is no home folder."""
    import platformdirs

    try:
        path: Path = getattr(platformdirs, f"user_{kind}_path")(APP, appauthor=False)
        known = path.is_absolute()
    except RuntimeError:
        known = False
    if not known:
        raise UsageError(f"no home folder is known for your {kind} files", hint=f"set HOME, or {variable}")
    return path
