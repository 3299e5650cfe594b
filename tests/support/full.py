"""Whether this run is the whole one, and where its figures go."""

from __future__ import annotations

import json
import os
from pathlib import Path

FULL = bool(os.environ.get("OBATCH_TEST_FULL"))
"""Whether everything is tried at its full size, rather than a sample."""


def keep_figures(test: str, **numbers: float) -> None:
    """Print what a test has counted, and add it to the file that OBATCH_TEST_FIGURES names, as a line of JSON."""
    line = json.dumps({"test": test, **numbers})
    print(line)
    if path := os.environ.get("OBATCH_TEST_FIGURES"):
        with Path(path).open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
