"""Errors quote servers, models and files: what they say is safe wherever a program shows or keeps it."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import TYPE_CHECKING

from openai_batch.errors import ApiError, BatchError, InputError, Problem, UnreachableError
from openai_batch.jobs.logging_reporter import LoggingReporter

if TYPE_CHECKING:
    import pytest

HOSTILE = "x\x1b]0;owned\x07\x9b31m\u202e\nhint: forged"
SAFE = r"x\x1b]0;owned\x07\x9b31m\u202e\nhint: forged"


def test_what_an_error_quotes_controls_nothing() -> None:
    """In its text, its parts, and the traceback that Python itself prints."""
    error = BatchError(HOSTILE, hint=HOSTILE, details=[HOSTILE, "more"])
    assert (error.message, error.hint, error.details) == (SAFE, SAFE, (SAFE, "more"))
    assert str(error) == f"{SAFE}\n{SAFE}\nmore"
    assert "\x1b" not in "".join(traceback.format_exception(error))


def test_an_error_can_be_sent_to_another_process() -> None:
    """Its copy says the same."""
    problem = Problem(3, "invalid", "no")
    for error in (
        InputError("a", hint="b", details=["c", "d"], problems=[problem]),
        ApiError("a", hint="b", status=429, retry_after=2.0),
        UnreachableError("a", sent=False),
    ):
        pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - it was made here
        for again in (pickled, copy.copy(error)):
            assert type(again) is type(error)
            assert (str(again), vars(again)) == (str(error), vars(error))


def test_what_is_logged_controls_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, a note and a transfer are one safe line each."""
    reporter = LoggingReporter()
    with caplog.at_level(logging.INFO, "openai_batch"):
        reporter.warn(HOSTILE)
        reporter.note(HOSTILE)
        reporter.progress(HOSTILE, 2, 2)
    assert [record.getMessage() for record in caplog.records] == [SAFE, SAFE, f"{SAFE}: 2 bytes"]
