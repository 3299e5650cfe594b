"""Store the id of a new batch in another place if the registry cannot be written, for example on a full disk."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, RegistryError
from openai_batch.files import paths
from openai_batch.files.atomic import part_file, publish

if TYPE_CHECKING:
    from openai_batch.providers.batch_info import BatchInfo

    from .store.records import JobRecord


def keep_id(job: JobRecord, info: BatchInfo, cause: RegistryError) -> RegistryError:
    """Write the id of a new batch to the first of three folders that has room, and return the error to raise."""
    record = json.dumps(
        {"job": job.id, "batch_id": info.id, "provider": job.provider, "input_file_id": info.input_file_id}
    )
    for folder in (paths.state_dir(), Path.cwd(), Path(tempfile.gettempdir())):
        path = folder / f"obatch-emergency-{re.sub('[/:]', '_', info.id[-16:])}.json"
        try:
            with part_file(path) as (handle, part):
                handle.write(record.encode() + b"\n")
                publish(handle, part, path, private=True)
        except (OSError, BatchError):
            continue
        where = f"; its id is in {path}"
        break
    else:
        where = ""
    return RegistryError(
        f"batch {info.id} was created at {job.provider}, but its id could not be stored ({cause}){where}",
        hint=f"free space; then `obatch status {info.id} -p {job.provider}` or the same command again continues it",
    )
