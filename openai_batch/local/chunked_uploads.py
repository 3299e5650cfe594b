"""Uploads in parts, as `client.uploads` of OpenAI's clients makes them.

Each has a folder with its parts until they become a file. It is removed an hour after its creation, whatever became of
it. Ids from outside are looked up, and never part of a path.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish

from .api_objects import Refused, file_object
from .batches import Expiry
from .store import FileRecord
from .uploads import RETENTION, check_purpose, new_id, receive_part

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from .store import Store

_SECONDS = 3600
_MOST_PARTS = 1000
_LARGEST_PART = 64 * 1024 * 1024
_PIECE = 1 << 20
_STATE = "upload.json"


class CreateUpload(msgspec.Struct):
    """The body of a request that begins an upload."""

    bytes: Annotated[int, msgspec.Meta(ge=1)]  # the size of the whole file
    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]  # the client's name for it
    purpose: str  # what it is for: `batch`
    expires_after: Expiry | None = None  # how long the file is kept


class CompleteUpload(msgspec.Struct):
    """The body of a request that ends an upload."""

    # The parts, in the order of their bytes in the file.
    part_ids: Annotated[list[str], msgspec.Meta(max_length=_MOST_PARTS)]
    md5: str | None = None  # the MD5 of the whole file, in hexadecimal digits


class _Upload(msgspec.Struct):
    """One upload, as it is stored in its folder."""

    id: str
    request: CreateUpload
    created_at: float
    status: str = "pending"
    file_id: str | None = None

    @property
    def expires_at(self) -> float:
        return self.created_at + _SECONDS


_decode = msgspec.json.Decoder(_Upload).decode


class ChunkedUploads:
    """All uploads in parts that have not been removed yet. Any thread may call it, except for `add_part`."""

    def __init__(self, folder: Path, files: Path, store: Store, max_bytes: int) -> None:
        self._folder = paths.private_dir(folder)
        self._files = files
        self._store = store
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}
        self._parts: dict[str, dict[str, int]] = {}
        for place in folder.iterdir():
            self._load(place)

    def _load(self, place: Path) -> None:
        """Take over an upload of an earlier run of the server; remove one whose creation was cut off."""
        try:
            upload = _decode((place / _STATE).read_bytes())
        except (OSError, msgspec.MsgspecError):
            shutil.rmtree(place, ignore_errors=True)
            return
        self._uploads[upload.id] = upload
        self._parts[upload.id] = {path.name: path.stat().st_size for path in place.glob("part_*")}

    def create(self, request: CreateUpload) -> dict[str, Any]:
        """Begin an upload, and return it as the API shows it. Raises Refused."""
        check_purpose(request.purpose)
        if request.bytes > self._max_bytes:
            message = f"the file is too large: {self._max_bytes:,} bytes are taken"
            raise Refused(413, message, code="file_too_large", param="bytes")
        upload = _Upload(new_id("upload_"), request, time.time())
        paths.private_dir(self._folder / upload.id)
        self._save(upload)
        self._parts[upload.id] = {}
        self._uploads[upload.id] = upload
        return self._shown(upload)

    async def add_part(self, upload_id: str, request: Request) -> dict[str, Any]:
        """Receive a part, and return it as the API shows it. Raises Refused."""
        upload = self._pending(upload_id)
        parts = self._parts[upload.id]
        if len(parts) >= _MOST_PARTS:
            raise Refused(400, f"an upload has at most {_MOST_PARTS:,} parts", code="too_many_parts")
        target = self._folder / upload.id / new_id("part_")
        room = min(upload.request.bytes - sum(parts.values()), _LARGEST_PART)
        with part_file(target) as (out, part):
            size = await receive_part(request, out.write, room)
            if not size:
                raise Refused(400, "the part is empty", code="invalid_value", param="data")
            self._pending(upload_id)  # it may have been cancelled in the meantime
            publish(out, part, target, private=True)
        parts[target.name] = size
        created = {"id": target.name, "object": "upload.part", "created_at": int(time.time())}
        return {**created, "upload_id": upload.id}

    def complete(self, upload_id: str, request: CompleteUpload) -> dict[str, Any]:
        """Make a file of the parts, and return the upload as the API shows it; again, if it was completed before.

        Raises Refused if a part is unknown, or if the file is not as announced.
        """
        with self._lock:
            upload = self._find(upload_id)
            if upload.status != "completed":
                self._pending(upload_id)
                record = self._join(upload, request)
                self._store.add_file(record)
                upload.file_id = record.id
                self._end(upload, "completed")
            return self._shown(upload)

    def cancel(self, upload_id: str) -> dict[str, Any]:
        """Give an upload up, and return it as the API shows it. Raises Refused if it is completed."""
        with self._lock:
            upload = self._find(upload_id)
            if upload.status != "cancelled":
                self._end(self._pending(upload_id), "cancelled")
            return self._shown(upload)

    def remove_expired(self) -> None:
        """Remove the uploads whose time is over, with their parts."""
        for upload in tuple(self._uploads.values()):
            if upload.expires_at < time.time():
                with self._lock:
                    del self._uploads[upload.id], self._parts[upload.id]
                    shutil.rmtree(self._folder / upload.id, ignore_errors=True)

    def _find(self, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise Refused(404, f"there is no upload {upload_id}", code="not_found", param="id")
        return upload

    def _pending(self, upload_id: str) -> _Upload:
        upload = self._find(upload_id)
        status = "expired" if upload.expires_at < time.time() else upload.status
        if status != "pending":
            raise Refused(400, f"the upload is {status} already", code="upload_ended")
        return upload

    def _join(self, upload: _Upload, request: CompleteUpload) -> FileRecord:
        """Write the file, and return its record."""
        parts, asked = self._parts[upload.id], upload.request
        for part_id in request.part_ids:
            if part_id not in parts:
                raise Refused(400, f"the upload has no part {part_id}", code="invalid_value", param="part_ids")
        total = sum(parts[part_id] for part_id in request.part_ids)
        if total != asked.bytes:
            message = f"the parts have {total:,} bytes, and the upload was created for {asked.bytes:,}"
            raise Refused(400, message, code="incomplete_upload", param="part_ids")
        target = self._files / new_id("file-")
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with part_file(target) as (out, part):
            for part_id in request.part_ids:
                with (self._folder / upload.id / part_id).open("rb") as source:
                    while piece := source.read(_PIECE):
                        sha256.update(piece)
                        md5.update(piece)
                        out.write(piece)
            if request.md5 is not None and request.md5.lower() != md5.hexdigest():
                raise Refused(400, "the file has another MD5", code="invalid_value", param="md5")
            publish(out, part, target, private=True)
        now = time.time()
        seconds = asked.expires_after.seconds if asked.expires_after else RETENTION
        digest = sha256.hexdigest()
        return FileRecord(target.name, total, now, now + seconds, asked.filename, asked.purpose, digest)

    def _end(self, upload: _Upload, status: str) -> None:
        upload.status = status
        self._save(upload)
        for part_id in self._parts[upload.id]:
            (self._folder / upload.id / part_id).unlink(missing_ok=True)

    def _save(self, upload: _Upload) -> None:
        target = self._folder / upload.id / _STATE
        with part_file(target) as (out, part):
            out.write(msgspec.json.encode(upload))
            publish(out, part, target, replace=True, private=True)

    def _shown(self, upload: _Upload) -> dict[str, Any]:
        file = self._store.file(upload.file_id) if upload.file_id else None
        return {
            "id": upload.id,
            "object": "upload",
            "bytes": upload.request.bytes,
            "created_at": int(upload.created_at),
            "expires_at": int(upload.expires_at),
            "filename": upload.request.filename,
            "purpose": upload.request.purpose,
            "status": upload.status,
            "file": file_object(file) if file else None,
        }
