"""Another name for `create_batch_input`."""

from __future__ import annotations

from .create_batch_input import Batch, get_parser, main

__all__ = ["Batch", "get_parser", "main"]

if __name__ == "__main__":
    from .batch.program import run_program

    run_program(main)
