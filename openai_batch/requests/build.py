"""Make requests: the body for a set of parameters, and its line in a batch input file.

Nothing here reads, writes or sends. The caller's objects are never changed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from openai_batch.errors import InputError

from .answer_types import with_schemas
from .endpoints import ENDPOINTS, BatchType, kind_of_endpoint, kind_of_keys
from .plain_values import plain_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


_TRANSFUSION_REQUIRES = ("prompt", "size", "image", "response_format")
_DATA_URL = re.compile(r"data:(?P<mime>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its id: kind, endpoint and body."""

    kind: BatchType  # what the request asks for
    url: str  # the path of the endpoint, such as `/v1/chat/completions`
    body: dict[str, Any]  # the parameters that are sent

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body["model"])


def build_request(params: Mapping[str, Any], endpoint: str | None = None) -> Request:
    """Return the request that `params` describe.

    Without `endpoint` ("/v1/responses", or just "responses") the keys of `params` decide the kind, as in 0.3.4. A type
    as `response_format` or `text_format` becomes its JSON schema.
    Raises InputError if the keys do not tell the kind, or if a parameter is missing or wrong. Raises UsageError for
    an unknown endpoint.
    """
    if "model" not in params:
        raise InputError("Model must be specified in arguments", hint='add model="…"')
    if not isinstance(params["model"], str) or not params["model"]:
        raise InputError("The model must be a string that is not empty", hint='add model="…"')
    if params.get("stream"):
        raise InputError("A batch request cannot stream its answer", hint="leave stream out")
    params = with_schemas(params)
    if endpoint is None:
        kind = kind_of_keys(params)
        url = ENDPOINTS[kind]
    else:
        kind, url = kind_of_endpoint(endpoint, params)
    if kind is BatchType.TRANSFUSION and endpoint is not None:
        return Request(kind, url, dict(params))  # OpenAI's image edits have the same path, but other rules
    make_body = _BODY_MAKERS.get(kind)
    return Request(kind, url, make_body(params) if make_body else dict(params))


def request_line(custom_id: str, url: str, body: Mapping[str, Any]) -> bytes:
    """Return one line of a batch input file: compact UTF-8 JSON and a newline.

    Raises InputError for values that JSON cannot express: NaN, infinities, a lone surrogate, other types.
    """
    try:
        whole = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
        line = msgspec.json.encode(whole, enc_hook=_plain)
    except UnicodeEncodeError as exc:
        raise InputError(
            f"{custom_id}: the request contains half of a surrogate pair, which is not a character ({exc.reason})",
            hint="the text was cut in the middle of a character: fix or replace it",
        ) from None
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise InputError(
            f"{custom_id}: the request cannot be written as JSON: {exc}",
            hint="use dicts, lists, strings, numbers, True, False and None",
        ) from None
    # msgspec writes NaN and the infinities as null, so only lines with a null need the slow search.
    if b"null" in line and (key := _not_finite(body)) is not None:
        raise InputError(
            f"{custom_id}: {key} is not a finite number, and JSON cannot express it", hint="leave it out or fix it"
        )
    return line + b"\n"


def _score(params: Mapping[str, Any]) -> dict[str, Any]:
    if "text_2" not in params:
        raise InputError("'text_2' is required for score requests")
    return dict(params)


def _rerank(params: Mapping[str, Any]) -> dict[str, Any]:
    documents = params.get("documents")
    if isinstance(documents, str):
        documents = [documents]
    if not isinstance(documents, list):
        raise InputError("Rerank 'documents' must be a list of strings.")
    if "query" not in params:
        raise InputError("'query' is required for rerank requests")
    return {**params, "documents": documents}


def _transfusion(params: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in _TRANSFUSION_REQUIRES if key not in params]
    if missing:
        raise InputError(f"Missing required parameters for transfusion requests: {', '.join(missing)}")
    image = params["image"]
    return {**params, "image": [image] if isinstance(image, str) else image}


def _transcription(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body. Parasail wants a data URL split into data and media type; any other `file` is a file id."""
    data_url = _DATA_URL.fullmatch(params["file"]) if isinstance(params.get("file"), str) else None
    if data_url is None:
        return dict(params)
    return {**params, "file": data_url["data"], "file_type": data_url["mime"] or "application/octet-stream"}


_BODY_MAKERS: dict[BatchType, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    BatchType.SCORE: _score,
    BatchType.RERANK: _rerank,
    BatchType.TRANSFUSION: _transfusion,
    BatchType.TRANSCRIPTION: _transcription,
}


def _plain(value: Any) -> Any:
    made = plain_value(value)
    if made is value:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return made


def _not_finite(value: Any, where: str = "body") -> str | None:
    """Return the path of the first float in `value` that is not finite, or None."""
    value = plain_value(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else where
    if isinstance(value, dict):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        pairs = enumerate(value)
    else:
        return None
    return next((path for key, item in pairs if (path := _not_finite(item, f"{where}.{key}"))), None)
