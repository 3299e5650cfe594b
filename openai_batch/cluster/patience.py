"""Use a store that may be away for a while: work that is done should not be lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from openai_batch.errors import BatchError, InputError, NotFoundError
from openai_batch.local.server_log import log
from openai_batch.net.delays import delays

from .batches import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 3600.0
"""How long a worker waits for a store that cannot be used."""

_T = TypeVar("_T")


async def patiently(
    name: str, act: Callable[[], _T], passing: type[BatchError] = BatchError, seconds: float | None = None
) -> _T:
    """Return what `act` returns, in another thread, and try again for an hour after an error of the kind `passing`.

    `seconds` is another time than an hour, and `name` is for the log. Raises other BatchErrors, and at once those that
    do not pass: NotFoundError, InputError and UnreadableError.
    """
    pauses = delays(0.5, longest=30.0, spread=(0.5, 1.0))
    give_up = time.monotonic() + (_SECONDS if seconds is None else seconds)
    while True:
        try:
            return await asyncio.to_thread(act)
        except (NotFoundError, InputError, UnreadableError):
            raise
        except passing as exc:
            if time.monotonic() >= give_up:
                raise
            log(f"{name}: {exc}; trying again")
            await asyncio.sleep(next(pauses))
