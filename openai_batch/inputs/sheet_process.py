"""The process that reads one sheet of a workbook for its parent.

A library in another language reads it, and a small file can have any number of cells: the parent watches this
process, and ends it. It writes the names of the sheets to stdout, the rows of one, and None at the end. A row is a list
of cells, or its length if it is too long. A text is the reason why a workbook cannot be read.
"""

from __future__ import annotations

import json
import pickle
import sys

import python_calamine


def main() -> None:
    """Read a sheet. The only argument is JSON: the path, the name of the sheet or null, and how long a row may be."""
    path, sheet, longest = json.loads(sys.argv[1])
    out = sys.stdout.buffer
    try:
        book = python_calamine.load_workbook(path)
        names = book.sheet_names
        pickle.dump(names, out)
        out.flush()
        for row in book.get_sheet_by_name(names[0] if sheet is None else sheet).iter_rows():
            length = sum(len(cell) for cell in row if isinstance(cell, str))
            pickle.dump(row if length <= longest else length, out)
        pickle.dump(None, out)
    except (python_calamine.CalamineError, OSError, ValueError, IndexError) as exc:
        pickle.dump(str(exc), out)


if __name__ == "__main__":
    main()
