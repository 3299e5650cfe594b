"""The memory of an export does not grow with the number of results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


# KiB, including the interpreter and the imports.
LIMIT = 60_000
# VmHWM starts at 0 in a new program; getrusage would include the process that started it.
PEAK = """
import re, sys
from pathlib import Path
from openai_batch.results.export import Export
from openai_batch.results.outcome import SUCCEEDED

def lines():
    for n in range(150_000):
        export.note(n, f"r{n}", SUCCEEDED)
        yield b'{"custom_id":"r%d","response":{"status_code":200,"body":{"choices":[{"text":"%b"}]}}}' % (n, b"x" * 400)

Path("columns").write_bytes(b"".join(b'{"n":%d}\\n' % n for n in range(150_000)))
export = Export(sys.argv[1], columns=Path("columns"))
with open("out", "w+b") as out:
    export.write(lines(), out)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("form", ["csv", "rows"])
def test_memory_of_an_export_does_not_grow(form: str) -> None:
    """An export of 60 MB of results, joined with their rows, needs less memory than that."""
    done = subprocess.run([sys.executable, "-c", PEAK, form], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("out").stat().st_size > 60_000_000
    assert int(done.stdout) < LIMIT
