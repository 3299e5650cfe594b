"""Ids seen before are told, few or many."""

from __future__ import annotations

from openai_batch._unique import IN_MEMORY, Seen


def test_repeats_are_told_with_their_first_line() -> None:
    """An id from memory and one from the disk are both found again, with the line of their first time."""
    seen = Seen()
    count = IN_MEMORY + 5000
    assert all(seen.first(f"id-{n}", n) is None for n in range(1, count + 1))
    assert seen.first("id-7", count + 1) == 7
    assert seen.first(f"id-{IN_MEMORY}", count + 2) == IN_MEMORY
    assert seen.first(f"id-{IN_MEMORY + 1}", count + 3) == IN_MEMORY + 1
    assert seen.first(f"id-{count}", count + 4) == count
    assert seen.first("new", count + 5) is None
    assert seen.first("new", count + 6) == count + 5
    seen.close()
