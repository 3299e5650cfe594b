"""The list of planted bugs is current: each can be applied, and its tests exist."""

from __future__ import annotations

import pytest
from mutants import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_bug_can_still_be_planted(mutant: Mutant) -> None:
    """Every replacement applies exactly once and gives valid Python, and its tests exist."""
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


def test_there_are_many_different_bugs_with_descriptions() -> None:
    """The list has many bugs, all different, with a description and tests."""
    assert len(MUTANTS) >= 40
    assert len({mutant.edits for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.bug and mutant.tests for mutant in MUTANTS)
