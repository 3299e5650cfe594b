"""What the tests of tables share: an empty working folder, and a local provider in front of an echo."""

from __future__ import annotations

from cli.conftest import faulty, folder, local, real

__all__ = ["faulty", "folder", "local", "real"]
