"""What the tests of secrets share: a place to work in, and a provider whose key is the canary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from integration.conftest import shop
from support.canary import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from support.provider_home import Shop

__all__ = ["here", "shop"]


@pytest.fixture
def here(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shop:
    """Give the provider the canary for a key, and work in a folder of its own."""
    shop.folder = tmp_path / "work"
    shop.folder.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("FAULTY_KEY", KEY)
    monkeypatch.chdir(shop.folder)
    return shop
