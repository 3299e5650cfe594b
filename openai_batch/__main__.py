"""The program `obatch`, also called as `python -m openai_batch`.

Shell completion and `--version` are answered here, without the imports of the whole command line, which are slow.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["__complete"]:
        from .jobs.store.completion import complete

        return complete(arguments[1:])
    if arguments == ["--version"]:
        from . import __version__

        print(f"obatch {__version__}")  # noqa: T201 - this is a program's entry
        return 0
    from .cli.main import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
