"""An id has many spellings, and one text under which it is stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog import id_text

SOME = "01a200d2-5bdd-7f73-9c4c-308a2410093a"


class DriversOwn(UUID):
    """As asyncpg's."""


@given(st.uuids())
def test_every_spelling_of_an_id_is_one_text(id: UUID) -> None:
    text = str(id)
    for spelled in (id, DriversOwn(text), text, text.upper(), id.hex, f"{{{text}}}", id.urn, f" {text}\n"):
        assert id_text(spelled) == text


@pytest.mark.parametrize("given", ["", "7", "nothing", SOME[:-1], SOME + "0", None, 7, b"", SOME.encode()])
def test_what_is_no_id_has_no_text(given: Any) -> None:
    assert id_text(given) is None
