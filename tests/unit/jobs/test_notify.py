"""How a command that the user gives is split into words."""

from __future__ import annotations

import pytest

from openai_batch.jobs.notify import command_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'"C:\Program Files\tell.exe" -m "two words"', [r"C:\Program Files\tell.exe", "-m", "two words"]),
        (r"C:\tools\tell.exe", [r"C:\tools\tell.exe"]),
        (" ", []),
    ],
)
def test_a_path_on_windows_keeps_its_backslashes(text: str, words: list[str]) -> None:
    """On Windows backslashes stay, and quotes join words."""
    assert command_words(text, windows=True) == words


def test_other_systems_split_words_like_a_shell() -> None:
    """On other systems quotes and backslashes work as in a shell."""
    assert command_words(r"tell 'two words' a\ b", windows=False) == ["tell", "two words", "a b"]
