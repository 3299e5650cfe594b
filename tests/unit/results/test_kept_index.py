"""The index of a large result file is stored next to it, and used only while it is valid."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.plan import bad_row, good_row

from openai_batch.results import kept_index
from openai_batch.results.fitting import judge_by
from openai_batch.results.index import Places
from openai_batch.results.kept_index import index_kept
from openai_batch.results.result import Result
from openai_batch.results.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from openai_batch.results.result import Judge


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file with three results, which counts as large."""
    monkeypatch.setattr(kept_index, "MIN_BYTES", 1)
    return write(tmp_path / "r.jsonl", named(), bad_row("b"), good_row("c"))


def named(model: str | None = "m") -> dict[str, Any]:
    """Return a result of a model, with tokens."""
    row = good_row("a")
    row["response"]["body"] |= {"model": model} if model else {}
    return row


def write(path: Path, *rows: Any) -> Path:
    """Write result lines."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path, number: int = 0, judge: Judge = Result.of) -> tuple[Places, Tally]:
    """Index a file."""
    places, tally = Places(), Tally()
    with path.open("rb") as stream:
        index_kept(stream, number, "f", places, tally, judge)
    return places, tally


def changed_in_place(path: Path) -> None:
    """Change the bytes of a file, but not its size or time."""
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"z"'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_second_read_needs_no_parsing(path: Path) -> None:
    """The second read returns the stored places, outcomes and tokens without parsing the file."""
    first, _ = read(path)
    changed_in_place(path)
    again, tally = read(path)
    assert (dict(again), again.usage, again.others) == (dict(first), first.usage, {})
    assert list(again) == ["a", "b", "c"]
    assert again.usage["m"].output == 4
    assert tally == Tally()


def test_results_without_a_model_are_counted_again(path: Path) -> None:
    """The usage of results without a model name is the same the second time."""
    write(path, named(None))
    assert list(read(path)[0].usage) == list(read(path)[0].usage) == [None]


def test_another_file_is_indexed_again(path: Path) -> None:
    """The index of another file, or of another version of this package, is not used."""
    read(path)
    write(path, good_row("a"), good_row("new"))
    assert list(read(path)[0]) == ["a", "new"]
    kept = path.with_suffix(".index")
    values = msgspec.msgpack.decode(kept.read_bytes())
    kept.write_bytes(msgspec.msgpack.encode(["0.0.1", *values[1:]]))
    changed_in_place(path)
    assert list(read(path)[0]) == ["z", "new"]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 50, b"\x95\xa1x"])
def test_a_damaged_index_is_not_used(path: Path, damage: bytes) -> None:
    """A damaged index is not used, and is written again."""
    first, _ = read(path)
    kept = path.with_suffix(".index")
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert dict(read(path)[0]) == dict(first)
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("problem", ["repeated", "unreadable", "second", "schema", "short", "small"])
def test_only_plain_files_have_an_index(path: Path, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files have no index; each read counts and reports the same."""
    number = 0
    judge: Judge = Result.of
    if problem == "repeated":
        write(path, good_row("a"), good_row("a", 2))
    elif problem == "unreadable":
        write(path, good_row("a"), "no result")
    elif problem == "second":
        number = 1
    elif problem == "schema":
        judge = judge_by({"type": "object"})
    elif problem == "short":
        path = path.rename(path.with_suffix(".short"))
    else:
        monkeypatch.setattr(kept_index, "MIN_BYTES", path.stat().st_size + 1)
    first = read(path, number, judge)
    assert not path.with_suffix(".index").exists()
    assert read(path, number, judge) == first
    assert first[1].unreadable_count == (problem == "unreadable")
