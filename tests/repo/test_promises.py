"""The tests in docs/promises.md exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def test_every_test_that_a_promise_names_is_there() -> None:
    """Each promise has at least one test file, and each test name is in the file before it."""
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        if not section[0].isdigit():
            continue
        entries = re.findall(r"^- `(tests/[^`]+)`(?::((?:\s*`test_\w+`,?)+))?", section, re.MULTILINE)
        assert entries, section
        for path, names in entries:
            source = (ROOT / path).read_text(encoding="utf-8")
            for name in re.findall(r"`(\w+)`", names):
                assert f"def {name}(" in source, f"{path}: {name}"


def test_the_nightly_line_has_every_test_with_a_full_size() -> None:
    """Each test file with a full size is run by the nightly line, by its name or its folder."""
    line = re.search(r"^OBATCH_TEST_FULL=1 python -m pytest -n 2 --all (tests/.*)$", PAGE, re.MULTILINE)
    assert line
    named = line[1].split()
    files = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
    sized = [
        path
        for path in files
        if re.search(r"^from .* import .*\bFULL\b", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert len(sized) > len(named)
    for path in sized:
        assert any(str(path).startswith(name) for name in named), path


def test_the_promises_are_numbered_without_a_gap() -> None:
    """The promises are numbered without gaps, and none is removed unnoticed."""
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, 28))
