"""What the tests of sparing rows share: an empty working folder, a provider that fails as planned, and a real one."""

from __future__ import annotations

from cli.conftest import faulty, folder, local, real

__all__ = ["faulty", "folder", "local", "real"]
