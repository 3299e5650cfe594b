"""Read settings in several threads."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from __future__ import annotations
import sys, threading
import msgspec
from openai_batch.files.typed_table import Count, Text, read_table
sys.setswitchinterval(1e-6)
for number in range(400):
    class Inner(msgspec.Struct):
        name: Text
        number: Count = 1
    class Outer(msgspec.Struct):
        first: Inner
        second: list[Inner]
        third: Count | None = None
    globals().update(Inner=Inner, Outer=Outer)
    ready = threading.Barrier(6)
    def read() -> None:
        ready.wait()
        table = {"first": {"name": "a"}, "second": [{"name": "b", "number": 2}], "third": 3}
        read_table("table:", table, Outer)
    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("done")
"""


def test_threads_that_read_the_same_settings_first_at_once_do_not_crash() -> None:
    """Without a lock, msgspec reads an incomplete description of the type, and the program crashes."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
