"""The Files and Batches calls of a provider, through the openai SDK.

The SDK is imported inside functions, since it is slow to import. Every call raises only the errors of
`openai_batch.errors`; `create` may raise OutcomeUnknown too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import time
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urljoin, urlsplit

from openai_batch.errors import ApiError, BatchError, DownloadError, UnreachableError
from openai_batch.files.slice import FileSlice
from openai_batch.net.answers import unpacked
from openai_batch.net.delays import delays
from openai_batch.net.plain_get import plain_get
from openai_batch.net.time_limit import deadline_in, each_in_time, until, untimed
from openai_batch.net.transfer import DownloadResponse, transfer

from .api_errors import perhaps_paid, translated, without_sent_key
from .batch_info import BatchInfo, read_batch, read_id, read_time
from .client import send_file
from .marks import has_token
from .plain_client import usable
from .port import BatchApi, OutcomeUnknown, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openai import OpenAI

    from .attempt import Attempt
    from .provider import Provider

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SIZE_TRIES = 3  # how often a file is downloaded whose size is not the one on record
_LINE_END = 2  # the most bytes of a line end

_T = TypeVar("_T")

READ_TIMEOUT = 60.0  # seconds for a whole answer; for a file, without a byte
CALL_SECONDS = 120.0  # seconds for all tries of one request that may be repeated, other than an upload
LIST_SECONDS = 1800.0  # seconds for a whole list of batches
RESPOND_SECONDS = 600.0  # seconds for the answer to a request outside of a batch

_CERTAINLY_NOT_CREATED = frozenset({400, 401, 403, 404, 413, 415, 422, 429})
"""HTTP statuses of answers to a create request that prove that no batch was created."""


class OpenAIBatchApi(BatchApi):
    """The calls to a provider that speaks the Files and Batches APIs of OpenAI.

    `client` is a client to use instead of one made from the profile. `starting` is called with the progress of
    starting the local provider's server: (what is prepared, bytes done, bytes in all or None).
    """

    def __init__(
        self,
        provider: Provider,
        *,
        client: OpenAI | None = None,
        starting: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        self.provider = provider
        self._client_given = client is not None
        self._client: OpenAI | None = usable(client)
        self._starting = starting

    def make_ready(self) -> None:
        """Find the key, or start the server if this is the local provider. Nothing is sent.

        Raises AuthError if there is no key, and BatchError if the server does not start, or is busy with other settings
        than the configuration file.
        """
        if self.provider.is_local:
            self.close()  # its server may have stopped, or its settings may have changed
        self._sdk(as_is=False)

    def again(self) -> OpenAIBatchApi:
        """Return the same calls with separate connections, for another thread. The key is not read again."""
        from .client import own_connections

        other = OpenAIBatchApi(
            self.provider, client=self._client if self._client_given else None, starting=self._starting
        )
        if self._client is not None and not self._client_given:
            other._client = own_connections(self._client)
        return other

    def upload(self, stream: BinaryIO | FileSlice, filename: str) -> RemoteFile:
        """Upload a seekable file, and return its record; a retry starts from the beginning.

        Raises ApiError if the provider has another number of bytes.
        """
        source = stream if isinstance(stream, FileSlice) else FileSlice(stream)
        size = len(source)
        fields = self.provider.upload_fields | {"purpose": self.provider.file_purpose}

        def request(client: OpenAI) -> RemoteFile:
            source.seek(0)
            answer = send_file(client, (filename, source), fields, self.provider.upload_path)
            file = _read_file(_json_object(answer))
            if file.size is not None and file.size != size:
                raise ApiError(
                    f"{self.provider} has {file.size:,} bytes of the {size:,} that were uploaded",
                    hint="run the same command again to upload the file again",
                )
            return file

        with untimed():  # it may be large, and would start from the beginning
            return self._call("upload the input", request, timed=False)

    def create(self, attempt: Attempt) -> BatchInfo:
        """Send the request that creates a batch, which costs money, once. `create_once` handles the result.

        Its token is the idempotency key if the profile has `idempotent_create`. Returns the batch if its answer, or the
        batch itself, shows that this attempt created it. Raises ApiError, AuthError or NotFoundError if no batch was
        created, UnreachableError with `sent` False if the request was not sent, OutcomeUnknown in all other cases.
        """
        provider = self.provider
        if provider.is_local:
            self.make_ready()  # if the server has stopped, it is started again before the request, never after it
        # The SDK would send the request again after a timeout or a server error, when a batch may exist already.
        client = self._sdk().with_options(max_retries=0, timeout=provider.create_timeout)
        headers = {"Idempotency-Key": attempt.token} if provider.idempotent_create else {}
        try:
            with untimed(), translated(provider, "create the batch"):
                answer = client.batches.with_raw_response.create(**self._body_of(attempt), extra_headers=headers)
                info = self._batch(_json_object(answer))
        except UnreachableError as exc:
            if not exc.sent:
                raise
            raise OutcomeUnknown(str(exc)) from exc
        except ApiError as exc:
            if exc.status in _CERTAINLY_NOT_CREATED:
                raise
            raise OutcomeUnknown(str(exc)) from exc
        if info.input_file_id is None:  # some answers contain little more than the id
            with contextlib.suppress(BatchError):
                info = self.get(info.id)
        if info.input_file_id is None and has_token(info.metadata, attempt.token):
            return info
        if info.input_file_id != attempt.file_id:
            raise OutcomeUnknown(f"{provider} answered with batch {info.id}, and it does not show our file")
        return info

    def _body_of(self, attempt: Attempt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "input_file_id": attempt.file_id,
            "endpoint": attempt.endpoint,
            "completion_window": attempt.window,
        }
        if self.provider.sends_metadata:
            body["metadata"] = attempt.marked_metadata()
        if attempt.output_seconds:
            body["output_expires_after"] = {"anchor": "created_at", "seconds": attempt.output_seconds}
        return body

    def respond(self, url: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Send one request outside of a batch, at the full price; return the HTTP status and the body of the answer.

        It is sent once, without the SDK's retries: if there is no answer, or none that can be read, it may have been
        paid. That is an UnreachableError with `sent`. Raises AuthError, and ApiError for a redirect, too.
        """
        import openai

        client = self._sdk().with_options(max_retries=0, timeout=RESPOND_SECONDS)
        path = re.sub(r"^/v\d+", "", url)  # the base URL has the version
        with perhaps_paid(), translated(self.provider, f"send a request to {url}"):
            try:
                answer = client.post(path, body=dict(body), cast_to=openai.HttpxBinaryResponseContent).response
            except openai.APIStatusError as exc:
                if exc.status_code in (401, 403, *_REDIRECTS):
                    raise
                answer = exc.response
            return answer.status_code, without_sent_key(answer)

    def get(self, batch_id: str, *, once: bool = False, **options: Any) -> BatchInfo:
        """Ask for a batch; `options` (extra_headers, extra_query, extra_body, timeout) go to the SDK.

        `once` turns off the SDK's own retries, for callers that ask again themselves.
        """

        def request(client: OpenAI) -> BatchInfo:
            client = client.with_options(max_retries=0) if once else client
            answer = client.batches.with_raw_response.retrieve(batch_id, **{"timeout": READ_TIMEOUT} | options)
            return self._batch(_json_object(answer), answer)

        return self._call(f"ask for batch {batch_id}", request)

    def cancel(self, batch_id: str) -> BatchInfo:
        """Ask the provider to cancel a batch. The requests that it has finished are kept and billed."""

        def request(client: OpenAI) -> BatchInfo:
            answer = client.batches.with_raw_response.cancel(batch_id, timeout=READ_TIMEOUT)
            return self._batch(_json_object(answer), answer)

        return self._call(f"cancel batch {batch_id}", request)

    def batches(
        self, page_size: int = 100, max_pages: int = 1000, on_cut: Callable[[int], None] | None = None
    ) -> Iterator[BatchInfo]:
        """Yield the account's batches in the provider's order, most often the newest first.

        If the list cannot be read to its end, `on_cut` is called with the number of batches that it showed.
        """
        deadline = deadline_in(LIST_SECONDS)
        seen: set[str] = set()
        cursors: list[str | None] = [None]
        more = False
        for _ in range(max_pages):
            for after in cursors:
                with until(deadline):
                    batches, following, goes_on = self._page(after, page_size)
                fresh = [batch for batch in batches if batch.id not in seen]
                if fresh:
                    break
            yield from fresh
            seen.update(batch.id for batch in fresh)
            if not batches or not following:
                return
            if not fresh:
                break  # some servers ignore `after`, and send the first page again and again
            cursors, more = following, goes_on
        if more and on_cut is not None:
            on_cut(len(seen))

    def models(self) -> tuple[list[str], float | None]:
        """Return the names of the models that the provider lists, and the time by its clock if it is known."""

        def request(client: OpenAI) -> tuple[list[str], float | None]:
            answer = client.models.with_raw_response.list(timeout=READ_TIMEOUT)
            data = _parse(answer)
            entries = data.get("data") if isinstance(data, dict) else data
            if not isinstance(entries, list):
                raise ApiError(f"{self.provider} answered with something that is not a list of models")
            names = [entry.get("id") for entry in entries if isinstance(entry, dict)]
            clock = parsedate_tz(answer.headers.get("date", ""))
            return [name for name in names if isinstance(name, str)], clock and float(mktime_tz(clock))

        return self._call("list the models", request)

    def delete_file(self, file_id: str) -> None:
        """Delete a file. Raises NotFoundError if the provider has no such file."""
        self._call(f"delete file {file_id}", lambda client: client.files.delete(file_id, timeout=READ_TIMEOUT))

    def has_ranges(self, file_id: str) -> bool:
        """Return whether a download of this file could continue where it was interrupted. No content is read."""
        with self._reading(file_id, 0, None) as whole:
            etag = whole.headers.get("etag")
        if not etag:
            return False
        with self._reading(file_id, 1, etag) as rest:
            return rest.status == HTTPStatus.PARTIAL_CONTENT

    def file(self, file_id: str) -> RemoteFile:
        """Ask for a file's record."""

        def request(client: OpenAI) -> RemoteFile:
            return _read_file(_json_object(client.files.with_raw_response.retrieve(file_id, timeout=READ_TIMEOUT)))

        return self._call(f"ask for file {file_id}", request)

    def download(
        self,
        file_id: str,
        target: BinaryIO,
        progress: Callable[[int, int | None], None] | None = None,
        *,
        check_record: bool = True,
        on_short: Callable[[int, int], None] | None = None,
    ) -> int:
        """Download a file into `target`, which must be seekable, and return the number of bytes.

        `progress` is called with the bytes done, and the bytes in all or None. A broken connection is retried. Raises
        DownloadError if the number of bytes is not the one in the answer's header, or (with `check_record`) in the
        file's record. If each try brings fewer bytes than are on record, and they are whole by the answer's own length
        or chunks, `on_short` is called with both numbers instead, and the caller must check the content.
        """
        for delay in (*itertools.islice(delays(1.0), _SIZE_TRIES - 1), None):
            count, framed = transfer(
                lambda *at: self._reading(file_id, *at), target, f"file {file_id}", progress=progress
            )
            recorded = self._size_on_record(file_id) if check_record else None
            # If the bytes match the header, a record of fewer bytes is wrong. Some do not count the last line end.
            checked = recorded is not None and abs(count - recorded) > _LINE_END
            if recorded is None or not checked or (count > recorded and framed is not None):
                return count
            if delay is None and framed is not None and on_short is not None:
                on_short(count, recorded)
                return count
            if delay is None:
                raise short_file(file_id, count, recorded)
            time.sleep(delay)
        raise AssertionError  # the loop returns or raises

    def close(self) -> None:
        """Close the connections, and let the next call read the key again. A client from outside stays open."""
        if self._client is not None and not self._client_given:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def _reading(self, file_id: str, offset: int, etag: str | None) -> Iterator[DownloadResponse]:
        """Ask once for a file's bytes from `offset` on, or for all if its ETag is unknown or has changed."""
        import openai

        # With a compressed answer, an offset would not count the bytes of the file.
        headers = {"Accept-Encoding": "identity"}
        if offset and etag:
            headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
        if self.provider.is_local and not self._client_given:
            self.close()  # its server may have stopped since the last try
        client = self._call("reach the provider", lambda client: client).with_options(
            max_retries=0, timeout=READ_TIMEOUT
        )
        elsewhere = ""
        with translated(self.provider, f"download file {file_id}"), contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(
                    client.files.with_streaming_response.content(file_id, extra_headers=headers)
                )
            except openai.APIStatusError as exc:
                elsewhere = _redirect_target(exc)
                if not elsewhere:
                    raise
            else:
                names = {name.lower(): value for name, value in answer.headers.items()}
                raw = each_in_time(answer.http_response.iter_raw(), _sockets_of(answer.http_response), READ_TIMEOUT)
                chunks = unpacked(raw, names.get("content-encoding", ""))
                yield DownloadResponse(answer.status_code, names, chunks)
        if elsewhere:
            # The file is in an object store: its address needs no key, and gets none.
            unencrypted = urlsplit(self.provider.base_url or "").scheme == "http"
            with plain_get(elsewhere, headers, READ_TIMEOUT, http_too=unencrypted) as response:
                yield response

    def _size_on_record(self, file_id: str) -> int | None:
        with contextlib.suppress(BatchError):  # some providers have no such record
            return self.file(file_id).size
        return None

    def _page(self, after: str | None, limit: int) -> tuple[list[BatchInfo], list[str | None], bool]:
        """Return one page of the account's batches, and the cursors to try for the next page; none at the end.

        The last value says whether there is a next page: the server says so, or the page is full.
        """

        def request(client: OpenAI) -> tuple[list[BatchInfo], list[str | None], bool]:
            options: dict[str, Any] = {"limit": limit} | ({"after": after} if after else {})
            data = _parse(client.batches.with_raw_response.list(**options, timeout=READ_TIMEOUT))
            answer = data if isinstance(data, dict) else {"data": data}
            entries = answer.get("data")
            if not isinstance(entries, list):
                raise ApiError(f"{self.provider} answered with something that is not a list of batches")
            batches = []
            for entry in entries:
                with contextlib.suppress(ValueError, AttributeError):
                    batches.append(read_batch(entry, self.provider.status_map))
            # A full page may be followed by another one, even if the server says no.
            goes_on = answer.get("has_more") is True or len(entries) >= limit
            if not batches or (answer.get("has_more") is False and not goes_on):
                return batches, [], False
            named = answer.get("last_id")  # some cursors are not ids
            ids = [named, batches[-1].id] if isinstance(named, str) and named else [batches[-1].id]
            return batches, list(dict.fromkeys(ids)), goes_on

        return self._call("list the batches", request)

    def _batch(self, data: dict[str, Any], answer: Any = None) -> BatchInfo:
        raw = answer.parse() if answer is not None else None
        try:
            return read_batch(data, self.provider.status_map, raw)
        except ValueError as exc:
            raise ApiError(f"{self.provider} answered with something that is not a batch: {exc}") from None

    def _sdk(self, *, as_is: bool = True) -> OpenAI:
        """Return the client. With `as_is`, the local provider's server may be busy with other settings."""
        if self._client is None:
            # A separate client: others may use the provider's, which must stay open.
            self._client = self.provider.new_client(self._starting, as_is=as_is)
        return self._client

    def _call(self, doing: str, request: Callable[[OpenAI], _T], *, timed: bool = True) -> _T:
        """Run a request that may be repeated. If the local server has stopped, it is started again once."""

        def attempt() -> _T:
            with translated(self.provider, doing):
                client = self._sdk()  # it may start the local server, which takes its own time
                with until(deadline_in(CALL_SECONDS if timed else None)):
                    return request(client)

        try:
            return attempt()
        except UnreachableError:
            if not self.provider.is_local or self._client_given:
                raise
        self.close()
        return attempt()


def short_file(file_id: str, count: int, recorded: int) -> DownloadError:
    """Return the error for a file that arrived with another number of bytes than are on record."""
    return DownloadError(
        f"file {file_id} arrived with {count:,} of {recorded:,} bytes",
        hint="run the same command again to download it again; `obatch download --raw FOLDER` takes it as it is",
    )


def _redirect_target(exc: Any) -> str:
    """Return the address that an answer redirects a request for a file to; empty if it does not."""
    location = exc.response.headers.get("location", "") if exc.status_code in _REDIRECTS else ""
    return urljoin(str(exc.response.url), location) if location else ""


def _sockets_of(response: Any) -> list[Any]:
    """Return the socket of an answer; none if a program's own client has another kind of connection."""
    stream = getattr(response, "extensions", {}).get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    return [] if found is None else [found]


def _parse(answer: Any) -> Any:
    body = without_sent_key(answer.http_response)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")[:80]
        raise ApiError(f"the answer is not JSON: {text!r}", hint="is the base URL the provider's API?") from None


def _json_object(answer: Any) -> dict[str, Any]:
    data = _parse(answer)
    if not isinstance(data, dict):
        raise ApiError("the answer is not a JSON object", hint="is the base URL the provider's API?")
    return data


def _read_file(data: dict[str, Any]) -> RemoteFile:
    file_id, size = read_id(data.get("id")), data.get("bytes")
    if file_id is None:
        raise ApiError("the answer has no file id", hint="is the base URL the provider's API?")
    return RemoteFile(
        id=file_id,
        size=size if isinstance(size, int) and size > 0 else None,
        created_at=read_time(data.get("created_at")),
        filename=data.get("filename") if isinstance(data.get("filename"), str) else None,
        expires_at=read_time(data.get("expires_at")),
    )


# The SDK takes a file's content only as bytes or as an instance of io.IOBase.
assert issubclass(FileSlice, io.IOBase)  # noqa: S101
