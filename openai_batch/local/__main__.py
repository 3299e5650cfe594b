"""The program that `launch` starts: the server, with its settings as one JSON argument."""

from __future__ import annotations

import json
import sys

from openai_batch.errors import BatchError
from openai_batch.escapes import escape_newlines, escaping

from .settings import LocalSettings


def main() -> int:
    """Serve until idle, and return the exit code."""
    sys.stderr = escaping(sys.stderr)  # its log, which may be read on a terminal
    try:
        settings = LocalSettings.from_mapping(json.loads(sys.argv[1]))
        from .server import serve

        serve(settings, forever=False)
    except BatchError as exc:
        sys.stderr.write(f"error: {escape_newlines(str(exc))}\n")
        return exc.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
