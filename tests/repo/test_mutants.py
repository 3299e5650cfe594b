"""The list of planted bugs keeps up with the code: each still applies, and the tests that find it are there."""

from __future__ import annotations

import pytest
from mutants import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_bug_can_still_be_planted(mutant: Mutant) -> None:
    """Every replacement applies exactly once, changes the file into Python, and names tests that exist."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        before = texts.get(edit.file) or (ROOT / "openai_batch" / edit.file).read_text(encoding="utf-8")
        texts[edit.file] = edit.applied(before)
        compile(texts[edit.file], edit.file, "exec")
        assert texts[edit.file] != before
    for test in mutant.tests:
        path, _, name = test.partition("::")
        source = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert f"def {name.partition('[')[0] or 'test_'}" in source, test


def test_there_are_many_and_each_says_what_it_is() -> None:
    """The list is not cut short, and no two bugs are the same."""
    assert len(MUTANTS) >= 40
    assert len({mutant.edits for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.bug and mutant.tests for mutant in MUTANTS)
