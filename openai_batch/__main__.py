"""`python -m openai_batch` and the script `obatch`: the same program.

What a shell asks at every TAB, and `--version`, are answered here, before anything heavy is imported.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:]
    if words[:1] == ["__complete"]:
        from .jobs.store.completion import complete

        return complete(words[1:])
    if words == ["--version"]:
        from . import __version__

        print(f"obatch {__version__}")  # noqa: T201 - this is a program's entry
        return 0
    from .cli.main import main as run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
