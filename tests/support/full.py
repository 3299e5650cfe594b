"""Whether tests run at full size, and where their figures are written."""

from __future__ import annotations

import json
import os
from pathlib import Path

FULL = bool(os.environ.get("OBATCH_TEST_FULL"))
"""Whether everything is tested at full size instead of a sample."""


def keep_figures(test: str, **numbers: float) -> None:
    """Print the counts of a test, and add them as a line of JSON to the file that OBATCH_TEST_FIGURES names."""
    line = json.dumps({"test": test, **numbers})
    print(line)
    if path := os.environ.get("OBATCH_TEST_FIGURES"):
        with Path(path).open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
