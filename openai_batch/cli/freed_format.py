"""How freed space and deleted files are printed, for `rm` and `prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_batch.errors import count_text

from .output import errors
from .progress import size_text
from .table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.jobs.delete_remote import Deleted
    from openai_batch.jobs.prune import Freed

    from .output import Output


def show_freed(output: Output, freed: Sequence[Freed], *, dry_run: bool, removed: bool = False) -> None:
    """Print the jobs and how many bytes were freed, or would be; the total is a message. Jobs may be `removed` too."""
    records: list[dict[str, Any]] = [
        {"id": each.job.id, "name": each.job.name, "bytes": each.n_bytes, "dry_run": dry_run} for each in freed
    ]
    columns = [
        Column.of("job", "id", str),
        Column.of("name", "name", lambda name: name or ""),
        Column.of("size", "bytes", size_text, str),
    ]
    output.listing(records, columns, "id", "nothing to remove")
    if freed and not output.quiet:
        jobs, total = count_text(len(freed), "job"), size_text(sum(each.n_bytes for each in freed))
        if removed:
            errors.note(f"would remove {jobs}, and free {total}" if dry_run else f"removed {jobs}, and freed {total}")
        else:
            errors.note(f"{'would free' if dry_run else 'freed'} {total} of {jobs}")


def show_deleted(output: Output, deleted: Sequence[Deleted], *, dry_run: bool) -> None:
    """Print the jobs and their files at the provider that were deleted, or would be."""
    records: list[dict[str, Any]] = [
        {"id": each.job.id, "name": each.job.name, "provider": each.job.provider, "files": each.files}
        | {"dry_run": dry_run}
        for each in deleted
        if each.files
    ]
    columns = [
        Column.of("job", "id", str),
        Column.of("name", "name", lambda name: name or ""),
        Column.of("provider", "provider", str),
        Column.of("files", "files", lambda files: str(len(files)), " ".join),
    ]
    output.listing(records, columns, "id", "nothing to delete")
    if records and not output.quiet:
        would = "would delete" if dry_run else "deleted"
        files = count_text(sum(len(record["files"]) for record in records), "file")
        errors.note(f"{would} {files} of {count_text(len(records), 'job')} at the provider")
