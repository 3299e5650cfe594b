"""What the tests of waiting share: the provider that fails as planned, which the tests of the core have too."""

from __future__ import annotations

from core.conftest import shop

__all__ = ["shop"]
