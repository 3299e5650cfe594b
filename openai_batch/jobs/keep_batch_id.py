"""What to do when a batch was created and the registry cannot take its id any more."""

from __future__ import annotations

import json
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
    """Keep the id of a batch that was created and could not be written down, wherever there is room for it."""
    record = json.dumps(
        {"job": job.id, "batch_id": info.id, "provider": job.provider, "input_file_id": info.input_file_id}
    )
    places = [paths.state_dir(), Path.cwd(), Path(tempfile.gettempdir())]
    for folder in places:
        path = folder / f"obatch-emergency-{info.id[-16:]}.json".replace("/", "_")
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
        f"batch {info.id} was created at {job.provider}, and that could not be written down ({cause}){where}",
        hint=f"make room; then `obatch status {info.id} -p {job.provider}` or the same command again goes on with it",
    )
