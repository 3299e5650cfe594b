"""What starts the workers of a batch: this machine (`processes`), the Jobs API of Ray (`ray`), or any command.

The engine behind it places the workers, restarts them and counts them; nothing here schedules. To add another one,
write a class with the methods of `Launcher`, and choose it in `launcher_of`.

May import: `files`, `openai_batch.errors`, and the settings and records of `cluster`. Start reading at `launcher.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .launcher import Launcher, State, worker_options

if TYPE_CHECKING:
    from openai_batch.cluster.settings import ShardSettings

__all__ = ["Launcher", "State", "launcher_of", "worker_options"]


def launcher_of(settings: ShardSettings, token: str | None) -> Launcher:
    """Return the launcher that the settings name; `token` is the key of its API, if it has one."""
    if settings.launcher == "ray":
        from .ray import RayLauncher

        return RayLauncher(settings, token)
    if settings.launcher == "command":
        from .command import CommandLauncher

        return CommandLauncher(settings)
    from .processes import ProcessLauncher

    return ProcessLauncher(settings)
