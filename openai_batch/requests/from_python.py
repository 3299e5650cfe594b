"""Open the input that a program gives: paths of batch files, or requests, which are written to a batch file."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, InputError
from openai_batch.files.atomic import as_path
from openai_batch.files.object_store import is_address
from openai_batch.files.workspace import cannot_keep

from .answer_types import with_schemas
from .build import build_request, request_line
from .join import open_joined
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Requests = Iterable[str | os.PathLike[str] | Mapping[str, Any]]
JobInput = str | os.PathLike[str] | Requests | AsyncIterable[Mapping[str, Any]]
"""A batch file, several batch files, or requests. It is one iterable type, so that type checkers accept plain lists."""

_SHOWN = 20  # how many invalid requests are named

_TEXTS = "openai_batch.start sends texts, and the rows of data frames"


def open_input(given: JobInput, folder: Path) -> Source:
    """Return the batch file, or several joined into one, or a new one in `folder` with the requests.

    Raises InputError for anything else, and for an input that cannot be read.
    """
    if isinstance(given, Mapping):
        raise InputError("the input is one dict; nothing was sent", hint="give a list of dicts: [{…}]")
    if isinstance(given, AsyncIterable):
        raise InputError("the input is an async iterable; nothing was sent", hint="give it to submit_async")
    if not isinstance(given, str | os.PathLike | Iterable) or hasattr(given, "columns"):
        raise InputError(
            f"the input is of the type {type(given).__name__}; nothing was sent", hint=f"give requests; {_TEXTS}"
        )
    items = iter([given] if isinstance(given, str | os.PathLike) else given)
    first = next(items, None)
    if first is None:
        raise InputError("there are no requests", hint='give one or more: {"model": …, "messages": …}')
    items = itertools.chain([first], items)
    if isinstance(first, str | os.PathLike):
        if isinstance(first, str) and given is not first and not is_address(first) and not Path(first).exists():
            raise InputError(f"there is no file {first[:80]!r}; nothing was sent", hint=f"name files; {_TEXTS}")
        return open_joined(list(map(_name, items)), folder)
    source = Source(folder / "requests.jsonl", "the input", None)
    write_requests(items, source.path)
    return source


def _name(path: str | os.PathLike[str] | Mapping[str, Any]) -> str:
    if isinstance(path, Mapping):
        raise InputError("the input has files and requests; nothing was sent", hint="give only files, or only requests")
    return path if isinstance(path, str) and is_address(path) else str(as_path(path).absolute())


def write_requests(requests: Iterable[Any], target: Path) -> None:
    """Write requests as the lines of a batch file.

    Each is a dict with `custom_id`, `url` and `body`, or the parameters of a call. Requests without an id get line-1,
    line-2, … by their position. Raises InputError, which names the requests that are wrong, at most _SHOWN of them.
    """
    wrong: list[tuple[int, BatchError]] = []
    with _written(target) as write:
        for number, request in enumerate(requests, 1):
            try:
                line = _line(number, request)
            except BatchError as exc:
                wrong.append((number, exc))
                if len(wrong) == _SHOWN:
                    break
            else:
                write(line)
    if wrong:
        (number, first), *others = wrong
        details = [*first.details, *(f"request {number}: {exc.message}" for number, exc in others)]
        message = f"request {number}: {first.message}; nothing was sent"
        raise InputError(message, hint=first.hint, details=details) from first


@contextlib.contextmanager
def _written(target: Path) -> Iterator[Callable[[bytes], object]]:
    """Open a file to write. An OSError of writing becomes a BatchError, one from the caller's requests does not."""

    def guarded(act: Callable[..., object], *args: bytes) -> None:
        try:
            act(*args)
        except OSError as exc:
            raise cannot_keep(target.parent, exc) from exc

    out = target.open("wb")
    try:
        yield lambda line: guarded(out.write, line)
        guarded(out.flush)
    finally:
        with contextlib.suppress(OSError):  # a failed write was already reported
            out.close()


def _line(number: int, request: Mapping[str, Any]) -> bytes:
    if not isinstance(request, Mapping):
        raise InputError(
            f"not a dict but {type(request).__name__}", hint='give a list of dicts: {"model": …, "messages": …}'
        )
    custom_id = request.get("custom_id", f"line-{number}")
    if "body" not in request:
        request = {"body": {key: value for key, value in request.items() if key != "custom_id"}}
    body, url = request["body"], request.get("url")
    if not isinstance(body, Mapping):
        raise InputError(f"its body is not a dict but {type(body).__name__}", hint="give the parameters of the call")
    if url is None:
        built = build_request(body)
        body, url = built.body, built.url
    else:
        body = with_schemas(body)
    return request_line(custom_id, url, body)
