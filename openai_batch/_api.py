"""The one module that talks to a provider: the Files and Batches calls, through the openai SDK.

The SDK is imported inside functions, since that takes longer than everything else together. Its exceptions
and those of its HTTP library end here: callers see the classes of `errors`.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from . import _config
from ._batchinfo import BatchInfo, read_batch
from ._delays import retry_after
from ._slice import FileSlice
from ._transfer import DownloadResponse, transfer
from .errors import ApiError, AuthError, BatchError, DownloadError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openai import OpenAI

    from ._profile import Provider

CHUNK = 1 << 18
"""Bytes read from a download at a time."""

# What certainly kept the request from leaving: names of the HTTP library's classes, which is never imported here.
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})

_T = TypeVar("_T")

_READ_TIMEOUT = 60.0

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the provider holds it; `size` in bytes, None where it does not say."""

    id: str
    size: int | None = None
    created_at: float | None = None
    filename: str | None = None


def make_client(provider: Provider, *, base_url: str | None = None, key: str | None = None) -> OpenAI:
    """Return an SDK client that sends this provider's key to this provider's host, and nothing else of ours.

    Redirects are not followed: a followed one would send prompts and a second POST to another address.
    A server on this machine is spoken to past any proxy. Raises AuthError if the key is missing.
    """
    from openai import DefaultHttpxClient, Omit, OpenAI

    if base_url is None:
        base_url, key = _whereabouts(provider)
    host = urlsplit(base_url).hostname or ""
    headers: dict[str, Any] = dict(provider.headers)
    if not (host == "openai.com" or host.endswith(".openai.com")):
        headers |= {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}
    hooks: dict[str, Any] = {} if key else {"request": [_without_authorization]}
    return OpenAI(
        base_url=base_url,
        api_key=key or "none",
        default_headers=headers,
        http_client=DefaultHttpxClient(follow_redirects=False, trust_env=host not in _LOOPBACK, event_hooks=hooks),
    )


def _without_authorization(request: Any) -> None:
    """Send no key where there is none: the SDK insists on having one."""
    request.headers.pop("Authorization", None)


def sdk_model_names() -> list[str]:
    """Return the names of OpenAI's embedding and chat models that the installed SDK knows."""
    from typing import get_args

    from openai.types import ChatModel, EmbeddingModel

    return [*get_args(EmbeddingModel), *get_args(ChatModel)]


def dry_run_batch(batch_id: str, endpoint: str = "/v1/chat/completions") -> Any:
    """Return the SDK batch object that stands for a batch in a dry run."""
    from openai.types.batch import Batch

    return Batch(
        id=batch_id,
        object="batch",
        status="completed",
        completion_window="24h",
        created_at=0,
        endpoint=endpoint,
        input_file_id="file-dry-run-input",
        output_file_id="file-dry-run-output",
        error_file_id="file-dry-run-error",
    )


class BatchApi:
    """The calls of one provider. Nothing is remembered but the connection.

    `client` is an SDK client to use instead of one made from the profile. `starting` hears what a local
    provider does to get ready: (what, bytes done, bytes in all or None).
    """

    def __init__(
        self,
        provider: Provider,
        *,
        client: OpenAI | None = None,
        starting: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        self.provider = provider
        self._given = client
        self._client = client
        self._starting = starting

    def make_ready(self) -> None:
        """Find the key, and start the local provider's server if it is that one; nothing is sent.

        Raises AuthError if there is no key, BatchError if the server does not start.
        """
        self._sdk()

    def upload(
        self, stream: BinaryIO | FileSlice, filename: str, progress: Callable[[int], None] | None = None
    ) -> RemoteFile:
        """Stream a seekable file up; `progress` hears the bytes sent so far. Tried again it starts at the front."""
        source = stream if isinstance(stream, FileSlice) and progress is None else _slice(stream, progress)
        size = len(source)

        def request(client: OpenAI) -> RemoteFile:
            source.seek(0)
            content: Any = source
            purpose: Any = self.provider.file_purpose
            answer = client.files.with_raw_response.create(file=(filename, content), purpose=purpose)
            file = _read_file(_json_object(answer))
            if file.size is not None and file.size != size:
                raise ApiError(
                    f"{self.provider} holds {file.size:,} bytes of the {size:,} that were uploaded",
                    hint="the same command again uploads the file anew",
                )
            return file

        return self._call("upload the input", request)

    def create(
        self,
        *,
        input_file_id: str,
        endpoint: str,
        window: str,
        metadata: Mapping[str, str] | None,
        token: str | None = None,
    ) -> BatchInfo:
        """Send the one request that costs money: once, with the SDK's own retries off.

        Returns the batch only if the answer proves that it was created from `input_file_id`. Raises ApiError,
        AuthError or NotFoundError if it certainly was not, UnreachableError with `sent` False if nothing
        left, and OutcomeUnknown in every other case: then only looking can tell, never sending again.
        """
        provider = self.provider
        if provider.is_local:
            self.close()  # a server that has gone is started again before the request, never after it
        client = self._sdk().with_options(max_retries=0, timeout=provider.create_timeout)
        body: dict[str, Any] = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": window}
        if metadata:
            body["metadata"] = dict(metadata)
        headers = {"Idempotency-Key": token} if token and provider.idempotent_create else {}
        try:
            with _translated(provider, "create the batch"):
                answer = client.batches.with_raw_response.create(**body, extra_headers=headers)
                info = self._batch(_json_object(answer))
        except UnreachableError as exc:
            if not exc.sent:
                raise
            raise OutcomeUnknown(str(exc)) from exc
        except ApiError as exc:
            if exc.status in _CERTAINLY_NOT_CREATED:
                raise
            raise OutcomeUnknown(str(exc)) from exc
        if info.input_file_id != input_file_id:
            raise OutcomeUnknown(f"{provider} answered with a batch of another file")
        return info

    def get(self, batch_id: str, *, once: bool = False, **options: Any) -> BatchInfo:
        """Ask for a batch; `options` (extra_headers, extra_query, extra_body, timeout) go to the SDK.

        `once` keeps the SDK from trying again by itself, for callers that wait in their own, visible way.
        """

        def request(client: OpenAI) -> BatchInfo:
            client = client.with_options(max_retries=0) if once else client
            answer = client.batches.with_raw_response.retrieve(batch_id, **{"timeout": _READ_TIMEOUT} | options)
            return self._batch(_json_object(answer), answer)

        return self._call(f"ask for batch {batch_id}", request)

    def cancel(self, batch_id: str) -> BatchInfo:
        """Ask the provider to stop a batch; what it has finished is kept and billed."""

        def request(client: OpenAI) -> BatchInfo:
            answer = client.batches.with_raw_response.cancel(batch_id, timeout=_READ_TIMEOUT)
            return self._batch(_json_object(answer), answer)

        return self._call(f"cancel batch {batch_id}", request)

    def batches(self, page_size: int = 100, max_pages: int = 1000) -> Iterator[BatchInfo]:
        """Yield the account's batches as the provider orders them, newest first by custom.

        Ends at the first page that shows nothing new, whatever `has_more` says: some servers ignore `after`.
        """
        seen: set[str] = set()
        after: str | None = None
        for _ in range(max_pages):
            batches, more = self._page(after, page_size)
            fresh = [batch for batch in batches if batch.id not in seen]
            yield from fresh
            seen.update(batch.id for batch in fresh)
            if not fresh or not more:
                return
            after = batches[-1].id

    def file(self, file_id: str) -> RemoteFile:
        """Ask for a file's record."""
        return self._call(
            f"ask for file {file_id}",
            lambda client: _read_file(_json_object(client.files.with_raw_response.retrieve(file_id))),
        )

    def download(
        self, file_id: str, target: BinaryIO, progress: Callable[[int, int | None], None] | None = None
    ) -> int:
        """Stream a file's bytes into `target` and return how many there were; a broken line is tried again.

        Raises DownloadError if fewer or more bytes arrive than the answer announced, or than the file's record
        says where the provider keeps one.
        """
        count, announced = transfer(
            lambda *at: self._reading(file_id, *at), target, f"file {file_id}", progress=progress
        )
        recorded = self._size_on_record(file_id)
        # An announced length that was kept outweighs a record that says less.
        if recorded is not None and (count < recorded or (announced is None and count != recorded)):
            raise DownloadError(
                f"file {file_id} arrived with {count:,} of {recorded:,} bytes",
                hint="the same command again downloads it anew",
            )
        return count

    def close(self) -> None:
        """Close the connections, unless the client was given; the next call opens new ones and reads the key anew."""
        if self._client is not None and self._given is None:
            self._client.close()
            self.provider.forget_client(self._client)
            self._client = None

    @contextlib.contextmanager
    def _reading(self, file_id: str, offset: int, etag: str | None) -> Iterator[DownloadResponse]:
        """Ask for a file's bytes from `offset` on, if it still has that ETag. The SDK retries nothing here."""
        headers = {"Accept-Encoding": "identity"}
        if offset and etag:
            headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
        if self.provider.is_local and self._given is None:
            self.close()  # its server may have gone since the last try
        client = self._call("reach the provider", lambda client: client).with_options(
            max_retries=0, timeout=_READ_TIMEOUT
        )
        with (
            _translated(self.provider, f"download file {file_id}"),
            client.files.with_streaming_response.content(file_id, extra_headers=headers) as answer,
        ):
            names = {name.lower(): value for name, value in answer.headers.items()}
            yield DownloadResponse(answer.status_code, names, answer.iter_bytes(CHUNK))

    def _size_on_record(self, file_id: str) -> int | None:
        try:
            return self.file(file_id).size
        except BatchError:
            return None  # not every provider keeps such records

    def _page(self, after: str | None, limit: int) -> tuple[list[BatchInfo], bool]:
        def request(client: OpenAI) -> tuple[list[BatchInfo], bool]:
            options: dict[str, Any] = {"limit": limit} | ({"after": after} if after else {})
            data = _parse(client.batches.with_raw_response.list(**options, timeout=_READ_TIMEOUT))
            entries = data.get("data") if isinstance(data, dict) else data
            if not isinstance(entries, list):
                raise ApiError(f"{self.provider} answered with something that is no list of batches")
            batches = []
            for entry in entries:
                with contextlib.suppress(ValueError, AttributeError):
                    batches.append(read_batch(entry, self.provider.status_map))
            return batches, not isinstance(data, dict) or bool(data.get("has_more", True))

        return self._call("list the batches", request)

    def _batch(self, data: dict[str, Any], answer: Any = None) -> BatchInfo:
        raw = answer.parse() if answer is not None else None
        try:
            return read_batch(data, self.provider.status_map, raw)
        except ValueError as exc:
            raise ApiError(f"{self.provider} answered with something that is no batch: {exc}") from None

    def _sdk(self) -> OpenAI:
        if self._client is None:
            if self.provider.is_local:
                base_url, key = _whereabouts(self.provider, self._starting)
                self._client = make_client(self.provider, base_url=base_url, key=key)
            else:
                self._client = self.provider.get_client()
        return self._client

    def _call(self, doing: str, request: Callable[[OpenAI], _T]) -> _T:
        """Run a request that may be repeated; a local server that has gone is started again, once."""
        try:
            with _translated(self.provider, doing):
                return request(self._sdk())
        except UnreachableError:
            if not self.provider.is_local or self._given is not None:
                raise
        self.close()
        with _translated(self.provider, doing):
            return request(self._sdk())


class OutcomeUnknown(Exception):  # noqa: N818 - not an error yet: looking may still tell
    """A batch may have been created, or not."""


_CERTAINLY_NOT_CREATED = frozenset({400, 401, 403, 404, 413, 415, 422, 429})


def _slice(stream: BinaryIO | FileSlice, progress: Callable[[int], None] | None) -> FileSlice:
    source: Any = stream
    return FileSlice(source, progress=progress)


def _whereabouts(
    provider: Provider, starting: Callable[[str, int, int | None], None] | None = None
) -> tuple[str, str | None]:
    """Return base URL and key; a local server is started if none runs."""
    if provider.is_local:
        from .local import launch
        from .local.settings import LocalSettings

        endpoint = launch.ensure_running(LocalSettings.from_mapping(_config.load().local), progress=starting)
        return endpoint.base_url, endpoint.token
    return str(provider.base_url), _config.resolve_key(provider)


def _parse(answer: Any) -> Any:
    body = _without_sent_key(answer.http_response)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")[:80]
        raise ApiError(f"the answer is no JSON: {text!r}", hint="is the base URL the provider's API?") from None


def _without_sent_key(response: Any) -> bytes:
    """Return an answer's body without the key of its request; a key so short that it may be any word stays."""
    key = str(response.request.headers.get("authorization", "")).removeprefix("Bearer ").encode()
    body: bytes = response.content
    return body.replace(key, b"(key)") if len(key) >= _SHORTEST_SECRET else body


def _json_object(answer: Any) -> dict[str, Any]:
    data = _parse(answer)
    if not isinstance(data, dict):
        raise ApiError("the answer is no JSON object", hint="is the base URL the provider's API?")
    return data


def _read_file(data: dict[str, Any]) -> RemoteFile:
    file_id, size, created = data.get("id"), data.get("bytes"), data.get("created_at")
    if not isinstance(file_id, str) or not file_id:
        raise ApiError("the answer holds no file id", hint="is the base URL the provider's API?")
    return RemoteFile(
        id=file_id,
        size=size if isinstance(size, int) and size > 0 else None,
        created_at=created if isinstance(created, int | float) else None,
        filename=data.get("filename") if isinstance(data.get("filename"), str) else None,
    )


@contextlib.contextmanager
def _translated(provider: Provider, doing: str) -> Iterator[None]:
    """Turn what the SDK and its HTTP library raise into our errors, without the key and without a traceback."""
    import openai

    try:
        yield
    except (BatchError, OutcomeUnknown):
        raise
    except openai.APIStatusError as exc:
        raise _from_status(provider, doing, exc) from None
    except openai.APIConnectionError as exc:
        raise _from_connection(provider, doing, exc.__cause__ or exc) from None
    except openai.OpenAIError as exc:
        raise ApiError(f"could not {doing} at {provider}: {exc}") from None
    except Exception as exc:
        # A broken stream surfaces as the HTTP library's own class, which is known by its module's name only.
        if type(exc).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise _from_connection(provider, doing, exc) from None


def _from_status(provider: Provider, doing: str, exc: Any) -> BatchError:
    status = int(exc.status_code)
    message = _without_key(provider, _server_words(exc))
    what = f"could not {doing}: {provider} said {status}" + (f": {message}" if message else "")
    if status in (401, 403):
        variable = f" in {provider.api_key_env_var}" if provider.api_key_env_var else ""
        return AuthError(what, hint=f"check the key{variable} and what it may do")
    if status == 404:  # noqa: PLR2004
        return NotFoundError(what, hint="is it the account, project and provider that made it?")
    if 300 <= status < 400:  # noqa: PLR2004
        location = _without_key(provider, exc.response.headers.get("location", ""))
        target = urlsplit(location).hostname or "elsewhere"
        hint = f"it points to {target}: if that is right, make it the profile's base_url"
        return ApiError(what, hint=hint, status=status)
    code = _without_key(provider, str(exc.code)) if exc.code else None
    return ApiError(what, status=status, api_code=code, retry_after=retry_after(exc.response.headers))


def _from_connection(provider: Provider, doing: str, exc: BaseException) -> UnreachableError:
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    sent = type(exc).__name__ not in _NEVER_SENT
    reason = next((text for text in (str(item) for item in reversed(chain)) if text), type(exc).__name__)
    if "Timeout" in type(exc).__name__:
        reason = "no answer in time"
    hint = ""
    lasting = "CERTIFICATE" in reason.upper()
    if lasting:
        hint = "the certificate was not accepted; SSL_CERT_FILE names the authorities to trust"
    return UnreachableError(
        f"could not {doing}: {provider} cannot be reached ({_without_key(provider, reason)})",
        hint=hint,
        sent=sent,
        lasting=lasting,
    )


def _server_words(exc: Any) -> str:
    """Return the provider's own sentence, on one line and not too long."""
    body = exc.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message") if isinstance(inner, dict) else inner
    if not isinstance(body, str):
        body = ""
    if body.lstrip().startswith("<"):
        body = "(a web page)"
    return " ".join(body.split())[:500]


def _without_key(provider: Provider, text: str) -> str:
    """Return `text` with the key taken out: some servers echo it."""
    try:
        key = _config.resolve_key(provider) if not provider.api_key_command else provider.api_key
    except AuthError:
        key = None
    return text.replace(key, "(key)") if key else text


# The SDK takes file content that is an instance of io.IOBase; FileSlice is one.
assert issubclass(FileSlice, io.IOBase)  # noqa: S101 - holds the SDK's contract in view
