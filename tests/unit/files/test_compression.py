"""Compressed inputs are unpacked completely, or refused with an error."""

from __future__ import annotations

import gzip
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import InputError
from openai_batch.files.compression import _zstd, expand, is_compressed

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b'{"custom_id":"a"}\n' * 5000


@pytest.mark.parametrize("pack", [gzip.compress, _zstd().compress], ids=["gzip", "zstd"])
def test_every_member_is_unpacked(tmp_path: Path, pack: object) -> None:
    """Two compressed files put one after the other give both their contents."""
    assert callable(pack)
    path, target = tmp_path / "in", tmp_path / "out"
    path.write_bytes(pack(TEXT) + pack(b"last\n"))
    assert is_compressed(path)
    expand(path, "in", target)
    assert target.read_bytes() == TEXT + b"last\n"


@pytest.mark.parametrize("pack", [gzip.compress, _zstd().compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_damage_is_reported(tmp_path: Path, pack: object, harm: str) -> None:
    """A compressed file that was cut short or damaged is refused."""
    assert callable(pack)
    packed = bytearray(pack(TEXT * 20))
    if harm == "cut":
        del packed[-9:]
    else:
        packed[len(packed) // 2] ^= 0xFF
        packed[-6] ^= 0xFF
    path = tmp_path / "in"
    path.write_bytes(packed)
    with pytest.raises(InputError, match="in: the compressed file is damaged or cut short"):
        expand(path, "in", tmp_path / "out")


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    """A file that unpacks to more than the limit is refused before it fills the disk."""
    path, target = tmp_path / "in", tmp_path / "out"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(InputError, match="more than 10,000,000 bytes"):
        expand(path, "in", target, limit=10_000_000)
    assert target.stat().st_size <= 10_000_000


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Unpacking 200 MB without a line end uses less than 30 MB of memory."""
    path = tmp_path / "in"
    path.write_bytes(_zstd().compress(bytes(200_000_000)))
    code = (
        "import resource, sys; from pathlib import Path; from openai_batch.files.compression import expand;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "expand(Path(sys.argv[1]), 'in', Path(sys.argv[2]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30_000  # kilobytes
