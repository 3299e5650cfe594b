"""What the tests of jobs from Python share: the provider that fails as planned, as the tests of the core have it."""

from __future__ import annotations

from core.conftest import shop

__all__ = ["shop"]
