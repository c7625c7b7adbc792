"""No statement is forgotten: a new one is struck, or it is said why none of these lives sends it."""

from typing import get_args

import pytest

from remit.db.statements import Dialect, statements
from tests.crash.calls import FIRST_LIFE, SECOND_LIFE, UNSTRUCK, WAY, struck

ALL = FIRST_LIFE, SECOND_LIFE, WAY
PACKAGES = "jobs", "outbox", "execution", "runtime", "client"
OF_A_HANDLERS_TRANSACTION = {"begin", "execute", "commit"}


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_every_statement_is_struck_or_it_is_said_why_not(dialect: Dialect) -> None:
    known = {name for package in PACKAGES for name in statements(f"remit.{package}", dialect)}
    tried = struck("sqlite", *ALL) | struck("postgres", *ALL)
    assert not tried & UNSTRUCK.keys()
    assert (tried - OF_A_HANDLERS_TRANSACTION) | UNSTRUCK.keys() == known
