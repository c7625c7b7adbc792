"""Fixtures of the catalog's tests."""

from __future__ import annotations

import pytest

from tests.unit.catalog.shop import Shop


@pytest.fixture
def shop() -> Shop:
    """Two domains that an application has taken in."""
    return Shop().open()
