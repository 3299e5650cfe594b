"""Write the requests that a program gives as the lines of a batch file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._requests import build_request, request_line
from .errors import BatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def write_requests(requests: Iterable[Mapping[str, Any]], target: Path) -> None:
    """Write requests as the lines of a batch file. Raises InputError naming the one that cannot be.

    Each is a dict with `custom_id`, `url` and `body`, or the parameters of a call; those without an id are called
    line-1, line-2, … by their place.
    """
    with _written(target) as write:
        for number, request in enumerate(requests, 1):
            try:
                line = _line(number, request)
            except BatchError as exc:
                raise InputError(f"request {number}: {exc}; nothing was sent", hint=exc.hint) from exc
            write(line)


@contextlib.contextmanager
def _written(target: Path) -> Iterator[Callable[[bytes], object]]:
    """Open a file; only our own trouble with the disk is a BatchError, not what the caller's requests raise."""

    def guarded(act: Callable[..., object], *args: bytes) -> None:
        try:
            act(*args)
        except OSError as exc:
            raise BatchError(
                f"cannot keep the input in {target.parent}: {exc.strerror}", hint="make room there"
            ) from exc

    out = target.open("wb")
    try:
        yield lambda line: guarded(out.write, line)
        guarded(out.flush)
    finally:
        with contextlib.suppress(OSError):  # what could not be written has been told
            out.close()


def _line(number: int, request: Mapping[str, Any]) -> bytes:
    if not isinstance(request, Mapping):
        raise InputError(f"not a dict but {type(request).__name__}", hint='give dicts: {"model": …, "messages": …}')
    custom_id = request.get("custom_id", f"line-{number}")
    if "body" not in request:
        request = {"body": {key: value for key, value in request.items() if key != "custom_id"}}
    body, url = request["body"], request.get("url")
    if not isinstance(body, Mapping):
        raise InputError(f"its body is no dict but {type(body).__name__}", hint="give the parameters of the call")
    if url is None:
        built = build_request(body)
        body, url = built.body, built.url
    return request_line(custom_id, url, body)
