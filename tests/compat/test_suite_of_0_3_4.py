"""The test suite of 0.3.4 passes. It is downloaded from the package index, and is not part of this repository."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHA256 = "d865e6179db33a453978ee6fee5432b59795d3b9099b81b7cf7432584b78f51c"
TESTS = 24
"""The number of tests of 0.3.4 that need no provider. One more is for Windows."""


def archive(folder: Path) -> Path:
    """Download the source archive of 0.3.4, or skip the test if the package index cannot be reached."""
    words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "openai-batch==0.3.4"]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    (path,) = folder.glob("*.tar.gz")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    return path


def test_the_suite_of_0_3_4_passes(folder: Path, tmp_path: Path) -> None:
    """Each test of 0.3.4 that needs no provider passes with this package, without keys or configuration."""
    with tarfile.open(archive(tmp_path / "index")) as source:
        if hasattr(tarfile, "data_filter"):  # not in Python 3.11.3 and older
            source.extraction_filter = tarfile.data_filter
        source.extractall(tmp_path)  # noqa: S202 - the filter is set above
    (tmp_path / "openai_batch-0.3.4" / "tests").rename(folder / "tests")
    (folder / "httpx.py").touch()  # the tests import it without using it, and the current SDK does not install it
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: x\n    live: x\n", encoding="utf-8")
    words = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow and not live"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--ignore=tests/test_live.py", "tests"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{TESTS} passed", done.stdout), done.stdout
