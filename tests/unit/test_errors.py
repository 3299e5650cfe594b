"""Text of servers, models and files in errors and logs cannot control a terminal."""

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


def test_text_in_an_error_has_no_control_characters() -> None:
    """The message, the hint, the details and the traceback contain no control characters."""
    error = BatchError(HOSTILE, hint=HOSTILE, details=[HOSTILE, "more"])
    assert (error.message, error.hint, error.details) == (SAFE, SAFE, (SAFE, "more"))
    assert str(error) == f"{SAFE}\n{SAFE}\nmore"
    assert "\x1b" not in "".join(traceback.format_exception(error))


def test_an_error_can_be_sent_to_another_process() -> None:
    """A pickled or copied error has the same message and attributes."""
    problem = Problem(3, "invalid", "no")
    for error in (
        InputError("a", hint="b", details=["c", "d"], problems=[problem]),
        ApiError("a", hint="b", status=429, retry_after=2.0),
        UnreachableError("a", sent=False),
    ):
        pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - data of this test
        for again in (pickled, copy.copy(error)):
            assert type(again) is type(error)
            assert (str(again), vars(again)) == (str(error), vars(error))


def test_text_in_a_log_has_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, a note and a transfer are each logged as one line without control characters."""
    reporter = LoggingReporter()
    with caplog.at_level(logging.INFO, "openai_batch"):
        reporter.warn(HOSTILE)
        reporter.note(HOSTILE)
        reporter.progress(HOSTILE, 2, 2)
    assert [record.getMessage() for record in caplog.records] == [SAFE, SAFE, f"{SAFE}: 2 bytes"]
