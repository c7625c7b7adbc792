"""The public names are what they say, and each has its place in the reference."""

from __future__ import annotations

import types

import pytest

import remit.testing
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "testing.md").read_text()


def test_every_name_is_there_and_no_module_hides_one() -> None:
    for name in remit.testing.__all__:
        assert not isinstance(getattr(remit.testing, name), types.ModuleType), name
    assert sorted(remit.testing._HOME_OF) == sorted(remit.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'publishd'"):
        _ = remit.testing.publishd  # type: ignore[attr-defined]


def test_every_name_is_in_the_reference() -> None:
    missing = [name for name in remit.testing.__all__ if f"::: remit.testing.{name}\n" not in PAGE]
    assert missing == ["assert_boundaries"], "which is documented with the boundaries"
