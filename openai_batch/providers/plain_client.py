"""A client that is not the SDK's own, such as a mock in a program's tests, used by its plain methods.

`api` asks the SDK for raw answers, which only the SDK has. `PlainClient` makes them from what the plain methods return,
if 0.3.4 used them.
"""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIELDS = ("id", "status", "endpoint", "output_file_id", "error_file_id", "created_at", "metadata")
"""What is read of an object that is not the SDK's."""


def usable(client: Any) -> Any:
    """Return a client that has raw answers: the given one if it is the SDK's, else one that calls it."""
    sdk = any(kind.__module__.partition(".")[0] == "openai" for kind in type(client).__mro__)
    return client if client is None or sdk else PlainClient(client)


class PlainClient:
    """Has those parts of the SDK's client that `api` uses, and calls the plain methods of another client."""

    def __init__(self, client: Any) -> None:
        self.files = SimpleNamespace(
            with_raw_response=_Raw(client.files),
            with_streaming_response=SimpleNamespace(content=lambda name, **_: _streamed(client.files, name)),
        )
        self.batches = SimpleNamespace(with_raw_response=_Raw(client.batches))

    def with_options(self, **_: Any) -> PlainClient:
        """Return this client: the options are the SDK's."""
        return self


class _Raw:
    """The methods of a resource, with raw answers."""

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            value = getattr(self._resource, name)(*args, **options)
            data = _data(value)
            if args:
                data = {"id": args[0]} | data
            if "input_file_id" in options:
                data["input_file_id"] = options["input_file_id"]
            response = SimpleNamespace(request=SimpleNamespace(headers={}), content=json.dumps(data).encode())
            return SimpleNamespace(http_response=response, parse=lambda: value)

        return call


def _data(value: Any) -> dict[str, Any]:
    """Return an answer as a dict. A mock has every attribute, so only those with plain values count."""
    dump = getattr(value, "model_dump", None)
    data = dump(mode="json") if callable(dump) else None
    if not isinstance(data, dict):
        found = {name: getattr(value, name, None) for name in _FIELDS}
        data = {name: item for name, item in found.items() if isinstance(item, str | int | float | dict)}
    data.pop("bytes", None)  # a mock does not count what it gets
    return data


@contextlib.contextmanager
def _streamed(files: Any, file_id: str) -> Iterator[Any]:
    content: bytes = files.content(file_id).content
    response = SimpleNamespace(iter_raw=lambda: iter((content,)))
    yield SimpleNamespace(status_code=200, headers={}, http_response=response)
