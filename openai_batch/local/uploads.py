"""Receive an uploaded file: the form is parsed, written and hashed as it arrives."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from openai_batch.files.atomic import part_file, publish

from .api_objects import Refused, read_body, whole_number
from .store import FileRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

_MAX_FIELD = 1024
_MAX_PART_HEADERS = 4096
_MAX_PARTS = 16
_OVERHEAD = 64 * 1024
RETENTION = 30 * 86_400
"""Seconds that an uploaded file is kept by default."""

_MIN_EXPIRY, _MAX_EXPIRY = 3600, 30 * 86_400
_PURPOSE = "batch"


def new_id(prefix: str) -> str:
    """Return a new random id that cannot be guessed."""
    return f"{prefix}{secrets.token_hex(16)}"


async def receive_file(request: Request, folder: Path, max_bytes: int) -> FileRecord:
    """Store and sync the file of a multipart upload in `folder` under a new id, and return its record.

    Raises Refused if the form is broken or has a missing field, or if the file has more than `max_bytes`.
    """
    target = folder / new_id("file-")
    # Writes go to the page cache of the system: that is faster than a thread for each.
    with part_file(target) as (out, part):
        form = await _receive(request, "file", out.write, max_bytes)
        check_purpose(form.fields.get("purpose"))
        record = _record(form, target.name)
        publish(out, part, target, private=True)
    return record


async def receive_part(request: Request, write: Callable[[bytes], object], max_bytes: int) -> int:
    """Pass the bytes of a part of an upload to `write`, and return how many there are. Raises Refused."""
    return (await _receive(request, "data", write, max_bytes)).size


def check_purpose(purpose: str | None) -> None:
    """Raise Refused for a purpose of a file that this server has no use for."""
    if purpose != _PURPOSE:
        code = "missing_required_parameter" if purpose is None else "invalid_purpose"
        raise Refused(400, f"the purpose must be {_PURPOSE!r}", code=code, param="purpose")


async def _receive(request: Request, name: str, write: Callable[[bytes], object], max_bytes: int) -> _Form:
    """Read a form with one file, the field `name`."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:  # noqa: PLR2004 - RFC 2046 says 70
        raise Refused(400, "the upload has no usable multipart boundary", code="invalid_multipart")
    form = _Form(name, write, max_bytes)
    await _feed(request, form, boundary, max_bytes)
    form.finish()
    return form


async def _feed(request: Request, form: _Form, boundary: bytes, max_bytes: int) -> None:
    """Parse the body. After a refusal, read on for a while: a client that still sends does not read the response."""
    callbacks: dict[str, object] = {
        "on_part_begin": form.begin,
        "on_header_field": form.header_name,
        "on_header_value": form.header_value,
        "on_header_end": form.header_end,
        "on_headers_finished": form.headers_end,
        "on_part_data": form.data,
        "on_part_end": form.end,
        "on_end": form.whole,
    }
    parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
    refusal: Refused | None = None
    seen = 0
    async for chunk in read_body(request):
        seen += len(chunk)
        if refusal is None:
            try:
                parser.write(chunk)
            except FormParserError as exc:
                refusal = Refused(400, f"the upload is not a well-formed form: {exc}", code="invalid_multipart")
            except Refused as exc:
                refusal = exc
        if seen > 4 * max_bytes + _OVERHEAD:
            refusal = refusal or Refused(413, "the upload is too large", code="file_too_large", param=form.name)
            break
    if refusal is not None:
        raise refusal


@dataclass(slots=True)
class _Form:
    """The form as far as it was read. Its methods are the parser's callbacks."""

    name: str  # the field with the file
    write: Callable[[bytes], object]  # called with the bytes of the file, which are not kept here
    max_bytes: int  # the largest file that is accepted
    fields: dict[str, str] = field(default_factory=dict)  # the other fields, by name
    filename: str | None = None  # the client's name for the file; None before it began
    size: int = 0  # the bytes of the file so far
    complete: bool = False  # whether the last boundary was read
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)  # the digest of the file so far
    _parts: int = 0  # the parts of the form so far
    # Name and value of the present header.
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _header_bytes: int = 0  # the bytes of the present part's headers so far
    _field: str = ""  # the name of the present field
    _in_file: bool = False  # whether the present part is the file
    _value: bytearray = field(default_factory=bytearray)  # the value of the present field so far

    def begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise Refused(400, "the form has too many parts", code="invalid_multipart")
        self._header_bytes = 0
        self._field, self._in_file = "", False
        self._value.clear()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_part(0, data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_part(1, data[start:end])

    def _header_part(self, place: int, piece: bytes) -> None:
        self._header_bytes += len(piece)
        if self._header_bytes > _MAX_PART_HEADERS:
            raise Refused(400, "a part of the form has too long headers", code="invalid_multipart")
        self._header[place].extend(piece)

    def header_end(self) -> None:
        name, value = (bytes(piece) for piece in self._header)
        for piece in self._header:
            piece.clear()
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(value)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field == self.name:
            self._in_file = True
            self.filename = options.get(b"filename", b"upload").decode("utf-8", "replace")[:255]

    def headers_end(self) -> None:
        if not self._field:
            raise Refused(400, "a part of the form has no name", code="invalid_multipart")
        if self._in_file and self.size:
            raise Refused(400, f"the form has more than one {self.name}", code="invalid_multipart", param=self.name)

    def data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if not self._in_file:
            self._value.extend(piece)
            if len(self._value) > _MAX_FIELD:
                raise Refused(400, f"the field {self._field!r} is too long", code="invalid_multipart")
            return
        self.size += len(piece)
        if self.size > self.max_bytes:
            raise Refused(
                413,
                f"the {self.name} is too large: {self.max_bytes:,} bytes are taken",
                code="file_too_large",
                param=self.name,
            )
        self.sha256.update(piece)
        self.write(piece)

    def end(self) -> None:
        if not self._in_file:
            self.fields[self._field] = self._value.decode("utf-8", "replace")

    def whole(self) -> None:
        self.complete = True

    def finish(self) -> None:
        """Raise Refused for a form that ended early or has no file."""
        if not self.complete:
            raise Refused(400, "the upload ended before its last boundary", code="incomplete_upload")
        if self.filename is None:
            raise Refused(400, f"the form has no {self.name}", code="missing_required_parameter", param=self.name)


def _record(form: _Form, file_id: str) -> FileRecord:
    now = time.time()
    seconds = RETENTION
    if (given := form.fields.get("expires_after[seconds]")) is not None:
        seconds = whole_number(given, _MIN_EXPIRY, _MAX_EXPIRY, "expires_after[seconds]")
    return FileRecord(
        id=file_id,
        bytes=form.size,
        created_at=now,
        expires_at=now + seconds,
        filename=form.filename or "upload",
        purpose=_PURPOSE,
        sha256=form.sha256.hexdigest(),
    )
