"""Where files are kept on this machine. No other module uses platformdirs.

Reading a path creates nothing; `private_dir` does, with mode 0700.
"""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError

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
    if given := os.environ.get("OBATCH_CONFIG"):
        return Path(given).expanduser()
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / "config.toml"


def config_is_chosen() -> bool:
    """Tell whether the user has chosen the configuration file, which then must exist."""
    return bool(os.environ.get("OBATCH_CONFIG"))


def state_dir() -> Path:
    """Return the folder of the registry and of running work (`state_at` overrides it, then `OBATCH_STATE_DIR`)."""
    if (chosen := _CHOSEN.get()) is not None:
        return chosen
    if given := os.environ.get("OBATCH_STATE_DIR"):
        return Path(given).expanduser()
    from platformdirs import user_state_path

    return user_state_path(APP, appauthor=False)


def cache_dir() -> Path:
    """Return the folder of files that can be downloaded again (`OBATCH_CACHE_DIR` overrides it)."""
    if given := os.environ.get("OBATCH_CACHE_DIR"):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path(APP, appauthor=False)


def registry_file() -> Path:
    """Return the path of the job registry, a SQLite database."""
    return state_dir() / "registry.db"


def jobs_dir() -> Path:
    """Return the folder of the jobs' files."""
    return state_dir() / "jobs"


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
    """Make `path` a folder that only its owner can enter, and return it. Raises BatchError if it cannot be made."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise BatchError(
            f"cannot make the folder {path}: {exc.strerror}",
            hint="OBATCH_STATE_DIR, OBATCH_CACHE_DIR and OBATCH_CONFIG can point to other places",
        ) from exc
    return path
