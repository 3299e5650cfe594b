"""Equal requests are found by their fingerprints, in any number and order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_batch.requests import fingerprints
from openai_batch.requests.row_set import RowSet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Request(msgspec.Struct):
    """The parts of a request that are compared."""

    url: str
    body: dict[str, Any]


few = st.lists(st.integers(0, 12), max_size=60)
no_matter = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def line(custom_id: str, **body: Any) -> bytes:
    """Return a request line."""
    whole = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(whole).encode() + b"\n"


def keys_of(*lines: bytes) -> list[bytes]:
    """Return the keys of requests."""
    found = [msgspec.json.decode(each, type=Request) for each in lines]
    data, size = b"".join(fingerprints.fingerprints(each.url, [each.body]) for each in found), fingerprints.KEY_BYTES
    return [data[start : start + size] for start in range(0, len(data), size)]


def kept(path: Path, numbers: list[int]) -> Path:
    """Write the keys of requests, one for each number; equal numbers give equal requests."""
    path.write_bytes(b"".join(keys_of(*(line(f"id-{row}", model=str(number)) for row, number in enumerate(numbers)))))
    return path


def rows_of(numbers: Iterable[int]) -> RowSet:
    """Return a set of these rows."""
    rows = RowSet()
    for row in numbers:
        rows.add(row)
    return rows


@pytest.mark.parametrize("partition", [1_000, 4], ids=["in one", "in many"])
@no_matter
@given(numbers=few)
def test_repeats_are_found(partition: int, numbers: list[int], tmp_path: Path) -> None:
    """Each repeated row is reported with the first row that has the same request, for any partition size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "_PARTITION", partition)
        found = sorted(fingerprints.repeats(kept(tmp_path / "keys", numbers), tmp_path))
    assert found == [(row, numbers.index(n)) for row, n in enumerate(numbers) if numbers.index(n) != row]


@pytest.mark.slow
@pytest.mark.parametrize("partition", [1_000, 4], ids=["in one", "in many"])
@no_matter
@given(head=few, mine=few, theirs=few, tail=few)
def test_shared_rows_are_found(
    partition: int, head: list[int], mine: list[int], theirs: list[int], tail: list[int], tmp_path: Path
) -> None:
    """Equal rows are paired: each of theirs with our first one, or the n-th with the n-th."""
    mine, theirs = head + mine + tail, head + theirs + tail
    found = {}
    for once in (True, False):
        repeated = [(row, mine.index(n)) for row, n in enumerate(mine) if once and mine.index(n) != row]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fingerprints, "_PARTITION", partition)
            ours, other = kept(tmp_path / "keys", mine), kept(tmp_path / "theirs", theirs)
            wanted = fingerprints.Wanted(ours, tmp_path / "work", rows_of(row for row, _ in repeated), repeated.copy)
            ranges = list(wanted.pairs(other, once=once))
        found[once] = sorted((row + n, other + n) for row, other, count in ranges for n in range(count))
        assert wanted.count == len(mine) - len(repeated)
    assert found[True] == sorted((mine.index(n), row) for row, n in enumerate(theirs) if n in mine)
    places = {n: [row for row, other in enumerate(mine) if other == n] for n in mine}
    pairs = [(n, theirs[:row].count(n), row) for row, n in enumerate(theirs)]
    assert found[False] == sorted((places[n][k], row) for n, k, row in pairs if k < len(places.get(n, ())))


@pytest.mark.parametrize("once", [True, False])
def test_rows_that_are_not_wanted_are_not_paired(once: bool, tmp_path: Path) -> None:
    """Rows that are not wanted are not paired, at any position."""
    ours, other = kept(tmp_path / "keys", [1, 2, 3, 4, 5, 6]), kept(tmp_path / "theirs", [1, 2, 9, 3, 4, 6])
    wanted = fingerprints.Wanted(ours, tmp_path / "work", rows_of([1, 2, 5]), list)
    assert sorted(wanted.pairs(other, once=once)) == [(0, 0, 1), (3, 4, 1)]


def test_an_input_that_has_grown_is_one_range(tmp_path: Path) -> None:
    """Rows before and after new rows are found as ranges, without temporary files."""
    ours, rows = kept(tmp_path / "keys", [*range(20_000)]), [*range(9_000), *range(9_100, 20_000)]
    wanted = fingerprints.Wanted(ours, tmp_path / "work", rows_of([]), list)
    assert list(wanted.pairs(kept(tmp_path / "theirs", rows), once=True)) == [(0, 0, 9_000), (9_100, 9_000, 10_900)]
    assert list(wanted.pairs(kept(tmp_path / "theirs", rows[:9_000]), once=False)) == [(0, 0, 9_000)]
    assert not (tmp_path / "work").exists()


def test_the_parts_of_a_key() -> None:
    """The URL and every byte of the body change the key; the id and the layout of the line do not."""
    one, two = line("a", model="m", seed=1), line("b", model="m", seed=1)
    other, elsewhere = line("a", model="m", seed=2), one.replace(b"/v1/chat/completions", b"/v1/responses")
    assert len(set(keys_of(one, two, other, elsewhere))) == 3
    assert keys_of(one) == keys_of(two)
    assert keys_of(one) == keys_of(one.replace(b'"method": "POST", ', b'"method":"POST",'))
