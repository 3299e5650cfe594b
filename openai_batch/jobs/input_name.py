"""The text that identifies an input later, even if it has grown, and the files behind it."""

from __future__ import annotations

import glob
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from openai_batch.files.object_store import is_address, shown

from .store.records import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai_batch.files.stored_file import Target


def name_of_input(
    files: Sequence[str], *, table: str | None = None, sql: str | None = None, output: Target | None = None
) -> str | None:
    """Return a text that identifies an input later, when it may have grown: the names of its files.

    Standard input has no name, so the path of the output is used instead; None if there is none.
    """
    if "-" in files:
        return None if output is None else f"-> {output.absolute()}"
    if sql is not None:  # an address in it may have a key
        sql = re.sub(r"(?i)(https?://[^'?#\s]*)[?#][^']*", r"\1", sql)
    paths = [shown(file) if is_address(file) else str(Path(file).expanduser().absolute()) for file in files]
    return json.dumps([*paths, *(word for word in (table, sql) if word)]) if paths else f"{Path.cwd()}: {sql}"


def name_of_rows(name: str | None) -> str | None:
    """Return a text that identifies the rows that a program gives under a name; None if they have none."""
    return None if name is None else f"{ROWS}{name}"


def source_of(input_name: str | None) -> str | None:
    """Return what `name_of_input` has named: its files, separated by commas, or the query; None for standard input."""
    if input_name is None or input_name.startswith(("-> ", ROWS)):
        return None
    if not input_name.startswith("["):
        return input_name.partition(": ")[2]
    words = json.loads(input_name)
    return ", ".join([word for word in words if is_address(word) or Path(word).is_absolute()])


def input_files(input_name: str | None) -> list[Path | str]:
    """Return those files of an input named by `name_of_input` that exist, and its addresses."""
    if input_name is None or input_name.startswith(ROWS):
        return []
    if input_name.startswith("-> "):
        return [Path("/dev/stdin")]
    words = json.loads(input_name) if input_name.startswith("[") else [input_name]
    in_queries = [name for word in words for name in re.findall("'([^']+)'", word)]
    files = [path for word in [*words, *in_queries] for path in glob.glob(word)]  # noqa: PTH207 - absolute patterns
    return [*filter(is_address, words), *map(Path, files)]
