"""Repeated ids are found."""

from __future__ import annotations

import pytest

from openai_batch.requests.unique_ids import IdHashes, unique_ids


def test_repeats_are_reported_with_their_first_place() -> None:
    """Each repeated id is reported with its first place, among any number of ids."""
    count = 20_000
    with unique_ids() as seen:
        assert all(seen(f"id-{n}", f"place {n}") is None for n in range(count))
        assert seen("id-7", "later") == "place 7"
        assert seen(f"id-{count - 1}", "later") == f"place {count - 1}"
        assert seen("new", "here") is None
        assert seen("new", "there") == "here"


@pytest.mark.parametrize(
    ("more", "unique"), [([], True), (["id-3"], False), (["id-999"], False), (["é"], True), (["é", "é"], False)]
)
def test_hashes_tell_whether_all_ids_differ(more: list[str], unique: bool) -> None:
    """One repeated id is found, whether ids are added one by one or many at once."""
    ids = [f"id-{n}" for n in range(1000)] + more
    one, many = IdHashes(), IdHashes()
    for start in range(0, len(ids), 9):
        many.add(ids[start : start + 9])
    for custom_id in ids:
        one.seen(custom_id, "somewhere")
    assert one.all_unique() is many.all_unique() is unique
    assert IdHashes().all_unique()
