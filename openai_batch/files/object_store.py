"""Objects in Amazon S3 (and servers that are compatible with it), Google Cloud Storage and Azure Blob Storage.

Keys and accounts are those that each store's own tools find in the environment. This package stores none of them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from openai_batch.errors import (
    AuthError,
    BatchError,
    MissingExtraError,
    NotFoundError,
    OutputExistsError,
    UnreachableError,
    UsageError,
)
from openai_batch.hidden_keys import beginning, hide_key
from openai_batch.threads import call_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Outcome = TypeVar("Outcome")

_ADDRESS = re.compile(r"(s3|gs|az|https?|hf)://", re.IGNORECASE)
_STORE = re.compile(r"(s3|gs|az)://([^/]*)/?(.*)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_PART = 8 << 20
"""Bytes that are sent or read by one request; a larger object takes several. S3 allows 10,000 for an object."""
_PARTS, _AT_ONCE = 9_000, 3
_LARGEST_COPY = 5 * 10**9
"""The most bytes that S3 copies in one request."""

_CLIENT = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "300s"}
_RETRIES = 6
_RETRY_SECONDS = 90

_NO_ETAG = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}
"""A version that no object has: what may only replace this one is never stored."""

_ACCESS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for an account that may use the bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
"""How to get access, by kind of store."""

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
_NO_CREDENTIALS = re.compile(
    r"169\.254\.|/latest/|token request|service account|credential|Account must be", re.IGNORECASE
)
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_NO_CONDITIONS = re.compile(r"status code: 501|NotImplemented")
_UNREACHABLE = re.compile(
    r"HTTP error|status code: (?:5(?!01)\d\d|429|408)|timed? ?out|error decoding response", re.IGNORECASE
)


def is_address(text: str) -> bool:
    """Return whether `text` names something in an object store or on the web, and not a local file."""
    return _ADDRESS.match(text) is not None


def is_stored(text: str) -> bool:
    """Return whether `text` is the address of an object in a store that can be read and written."""
    return _STORE.match(text) is not None


def shown(address: str) -> str:
    """Return an address as it is shown and stored: without what follows `?` on the web, which may be a key."""
    return address if is_stored(address) else re.sub(r"(?s)[?#].*", "", address)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows about an object."""

    key: str
    size: int
    etag: str
    """A text that changes with the content."""
    modified: float
    """In Unix seconds."""


class Writer(Protocol):
    """A file-like object that only writes."""

    def write(self, data: bytes, /) -> object:
        """Append these bytes."""


class ObjectStore:
    """One bucket (or container), or a part of it: the keys below a prefix. Threads may share it.

    Methods raise UnreachableError if the store does not answer after several tries, AuthError if there are no
    credentials or they give no access, and other BatchErrors if the store refuses something else.
    """

    def __init__(self, url: str) -> None:
        """Open `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`; nothing is sent.

        Raises UsageError if it is another address, and MissingExtraError without obstore.
        """
        self.kind, self.bucket, prefix = _parsed(url)
        self.prefix = prefix.strip("/")
        self.url = "/".join(filter(None, (f"{self.kind}://{self.bucket}", self.prefix)))
        self._obstore = _load_obstore(self.kind)
        for name in _SECRETS:
            hide_key(os.environ.get(name, ""))
        with self._translated(""):
            self._store = self._connect()

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object; None if there is none."""
        try:
            return _info(self._call(key, self._obstore.head, self._store, key))
        except NotFoundError:
            return None

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of an object from `start` to before `end`. Raises NotFoundError."""
        return b"".join(self.stream(key, start, end))

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the same bytes in pieces. Raises NotFoundError, and BatchError if the object changes meanwhile."""
        info = self.stat(key)
        if info is None:
            raise self._missing(key)
        end = info.size if end is None else min(end, info.size)
        while start < end:
            wanted = min(_PART, end - start)
            piece = self._call(key, self._get, key, start, start + wanted, info.etag)
            if len(piece) != wanted:
                came = f"{len(piece):,} bytes came, and {wanted:,} were asked for"
                raise BatchError(f"{self.address(key)}: {came}", hint="run the same command again")
            start += wanted
            yield piece

    def create(self, key: str, data: bytes) -> bool:
        """Store an object in one step. Return False, and change nothing, if there is one with this key already."""
        return self._put(key, data, "create")

    def replace(self, key: str, data: bytes) -> None:
        """Store an object in one step, in place of the one with this key if there is one."""
        self._put(key, data, "overwrite")

    @contextlib.contextmanager
    def writer(self, key: str, *, replace: bool, size: int = 0) -> Iterator[Writer]:
        """Write an object of any size. It appears, complete, when the block ends; after an error it does not appear.

        `size` is how long it will be about, if that is known: it is needed for 70 GB and more. Raises OutputExistsError
        at the end if there is an object with this key and `replace` is False. In a process that is killed at the end
        of the block, an object called `.NAME.….part` may stay.
        """
        folder, _, name = key.rpartition("/")
        beside = "/".join(filter(None, (folder, f".{name}.{secrets.token_hex(4)}.part")))
        where, part = key if replace else beside, max(_PART, size // _PARTS + 1)
        target = _Parts(part, lambda: self._open(where, part), functools.partial(self._call, key))
        try:
            yield target
            if target.few is not None:
                stored = self._put(key, bytes(target.few), "overwrite" if replace else "create")
            else:
                target.finish()
                stored = replace or self._moved(where, key)
        except BaseException:
            target.drop()
            raise
        if not stored:
            raise exists_already(self.address(key))

    def upload(self, key: str, path: Path, *, replace: bool) -> ObjectInfo:
        """Store a local file as an object, as `writer` does, and return what the store then knows about it.

        Raises OutputExistsError if there is an object with this key and `replace` is False; for more than 5 GB, that is
        checked only before the upload.
        """
        size = path.stat().st_size
        if not replace and size > _LARGEST_COPY and (replace := self.stat(key) is None) is False:
            raise exists_already(self.address(key))
        with path.open("rb") as source, self.writer(key, replace=replace, size=size) as out:
            while chunk := source.read(_PART):
                out.write(chunk)
        info = self.stat(key)
        if info is None or info.size != size:
            raise BatchError(f"{self.address(key)} is not what was stored", hint="run the same command again")
        return info

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects in the folder `prefix` and below it, or all if it is empty, in any order."""
        pages = self._call(prefix, self._obstore.list, self._store, prefix or None)
        while (page := self._call(prefix, next, pages, None)) is not None:
            yield from map(_info, page)

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        with contextlib.suppress(NotFoundError):
            self._call(key, self._obstore.delete, self._store, key)

    def copy(self, key: str, new: str) -> bool:
        """Copy an object within the store. Return False, and change nothing, if there is one with the new key."""

        def copy() -> bool:
            try:
                self._obstore.copy(self._store, key, new, overwrite=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
            return True

        return self._call(new, copy)

    def check_writable(self, key: str) -> None:
        """Raise an error if no object can be stored beside `key`. Nothing is stored."""
        probe = f"{key}.{secrets.token_hex(4)}.part"
        if self._put(probe, b"", _NO_ETAG):  # a server that does not know conditions
            self.delete(probe)

    def address(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self.url}/{key}" if key else self.url

    def _connect(self) -> Any:
        from datetime import timedelta

        retries = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)}
        options: dict[str, Any] = {"client_options": dict(_CLIENT), "retry_config": retries}
        if self.prefix:
            options["prefix"] = self.prefix
        stores = self._obstore.store
        if self.kind == "gs":
            return stores.GCSStore(self.bucket, **options)
        if self.kind == "az":
            return stores.AzureStore(self.bucket, **options)
        endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
        if endpoint is not None:
            if not re.fullmatch(r"https?://[^\s/@]+\S*", endpoint):
                raise UsageError("the endpoint of S3 is not a URL", hint=f"set {_ENDPOINTS[1]} to https://HOST")
            options["endpoint"] = endpoint
            options["client_options"]["allow_http"] = endpoint.startswith("http://")
        if (provider := _profile()) is not None:
            options["credential_provider"] = provider
        if not os.environ.get("AWS_COPY_IF_NOT_EXISTS"):
            options["copy_if_not_exists"] = "multipart"
        return stores.S3Store(self.bucket, **options)

    def _get(self, key: str, start: int, end: int, etag: str) -> bytes:
        options = {"range": (start, end)} | ({"if_match": etag} if etag else {})
        return bytes(self._obstore.get(self._store, key, options=options).bytes())

    def _put(self, key: str, data: bytes, mode: Any) -> bool:
        """Store an object; return False if there is one already, or none of the version that `mode` names."""
        errors = self._obstore.exceptions

        def put() -> bool:
            try:
                self._obstore.put(self._store, key, data, mode=mode, use_multipart=False)
            except (errors.AlreadyExistsError, errors.PreconditionError) as exc:
                if _NO_BUCKET.search(str(exc)):
                    raise FileNotFoundError(str(exc)) from None
                return False
            except errors.BaseError as exc:
                if mode is _NO_ETAG and _NO_CONDITIONS.search(str(exc)):
                    return False  # the store stores nothing then, either
                raise
            return True

        return self._call(key, put)

    def _open(self, key: str, part: int) -> Any:
        return self._obstore.open_writer(self._store, key, buffer_size=part, max_concurrency=_AT_ONCE)

    def _moved(self, key: str, new: str) -> bool:
        """Give an object another key. Return False, and delete it, if there is an object with that key."""
        try:
            return self.copy(key, new)
        finally:
            with contextlib.suppress(BatchError):
                self.delete(key)

    def _call(self, key: str, function: Callable[..., Outcome], *words: Any, **options: Any) -> Outcome:
        """Call a function of obstore in another thread: a signal cannot interrupt one in this thread."""
        with self._translated(key):
            return call_in_thread(function, *words, **options)

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn errors of obstore into ours."""
        errors, address = self._obstore.exceptions, self.address(key)
        try:
            yield
        except BatchError:
            raise
        except FileNotFoundError as exc:
            raise self._missing(key, str(exc)) from None
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as exc:
            raise AuthError(f"{address}: the store refused access ({_reason(exc)})", hint=_ACCESS[self.kind]) from None
        except errors.PreconditionError:
            raise BatchError(f"{address} changed while it was read", hint="run the same command again") from None
        except ValueError as exc:
            raise UsageError(f"{address} cannot be used: {_reason(exc)}", hint="choose another name") from None
        except errors.BaseError as exc:
            raise self._failure(address, exc) from None

    def _failure(self, address: str, exc: Exception) -> BatchError:
        text, reason = str(exc), _reason(exc)
        line = text.partition("\n")[0]
        if _NO_CREDENTIALS.search(line):
            return AuthError(f"there are no credentials for {self.kind}://{self.bucket}", hint=_ACCESS[self.kind])
        if _NO_BUCKET.search(text):
            return self._missing("", text)
        if _NO_CONDITIONS.search(text):
            hint = "--force writes without looking whether it exists"
            return BatchError(f"{address}: the store cannot write an object only if it is new", hint=hint)
        if "redirect" in line:
            return BatchError(f"{address}: the bucket is in another region", hint="set AWS_REGION to its region")
        if _UNREACHABLE.search(line):
            hint = "check the network, and the endpoint in AWS_ENDPOINT_URL if there is one"
            return UnreachableError(f"{address}: the store does not answer ({reason})", hint=hint)
        return BatchError(f"{address}: the store refused ({reason})", hint=_ACCESS[self.kind])

    def _missing(self, key: str, text: str = "") -> NotFoundError:
        if _NO_BUCKET.search(text):
            return NotFoundError(f"there is no bucket {self.kind}://{self.bucket}", hint="check its name")
        return NotFoundError(f"{self.address(key)} does not exist", hint="check the name")


class _Parts:
    """Bytes that become an object: kept in memory until they are more than one part, and then sent in parts."""

    def __init__(self, part: int, open_writer: Callable[[], Any], call: Callable[..., Any]) -> None:
        self.few: bytearray | None = bytearray()
        self._part, self._open, self._call = part, open_writer, call
        self._out: Any = None

    def write(self, data: bytes, /) -> None:
        if self.few is not None:
            self.few += data
            if len(self.few) <= self._part:
                return
            data, self.few = bytes(self.few), None
            self._out = self._open()
        self._call(self._out.write, data)

    def finish(self) -> None:
        """Make the object appear."""
        self._call(self._out.close)

    def drop(self) -> None:
        """Make the store forget the parts that it has."""
        if self._out is not None:
            with contextlib.suppress(Exception):
                self._out.__exit__(RuntimeError, RuntimeError(), None)


def _parsed(url: str) -> tuple[str, str, str]:
    """Return the kind of store, the bucket, and the key or prefix. Raises UsageError."""
    match = _STORE.fullmatch(url)
    if match is None:
        raise UsageError(f"{url[:200]} is not the address of an object store", hint="s3://BUCKET/…, gs://… or az://…")
    kind, bucket, key = match.groups()
    if "@" in bucket:
        raise UsageError(
            f"the {kind}:// address has a password or an account in it", hint=f"leave it out: {_ACCESS[kind.lower()]}"
        )
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{url[:200]} names no bucket", hint=f"{kind}://BUCKET/NAME")
    return kind.lower(), bucket, key


def split_address(address: str) -> tuple[ObjectStore, str]:
    """Return the store and the key of `s3://BUCKET/KEY`, or of another store. Raises UsageError for a folder."""
    kind, bucket, key = _parsed(address)
    if not key or key.endswith("/"):
        example = f"{kind}://{bucket}/{key}results.jsonl"
        raise UsageError(f"{address[:200]} is a folder, not a file", hint=f"name a file in it, such as {example}")
    return ObjectStore(f"{kind}://{bucket}"), key


def _load_obstore(kind: str) -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise MissingExtraError(
            f"{kind}:// needs an extra, which is not installed", hint="python -m pip install 'openai-batch[cloud]'"
        ) from None
    return obstore


def _profile() -> Any:
    """Return what reads the keys of a profile of AWS, if there are profiles, no key is set, and boto3 is installed."""
    files = (os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config")
    if os.environ.get("AWS_ACCESS_KEY_ID") or not any(Path(name).expanduser().exists() for name in files):
        return None
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return None
    try:
        return Boto3CredentialProvider()
    except BotoCoreError as exc:
        raise AuthError(f"the profile of AWS cannot be used: {_reason(exc)}", hint=_ACCESS["s3"]) from None
    except ValueError:  # it has no keys
        return None


def exists_already(address: str) -> OutputExistsError:
    """Return the error for an object that would be replaced unasked."""
    return OutputExistsError(f"{address} already exists", hint="--force replaces it, or choose another name")


def _info(meta: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())


def _reason(exc: Exception) -> str:
    """Return why a store refused, in a few words and without its URL, which may have a key in it."""
    line = str(exc).partition("\n")[0]
    status = re.search(r"status code: (\d+ [A-Za-z ]+)", line)
    code = re.search(r"<Code>(\w+)</Code>", str(exc))
    if status or code:
        return ", ".join(match[1].strip() for match in (status, code) if match)
    return beginning(re.sub(r"https?://\S+", "its URL", line.rpartition(" - ")[2]), 200)
