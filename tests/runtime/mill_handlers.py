"""All handlers of the mill, for its worker; a child imports the module of one alone."""

from tests.runtime import mill, mill_broken, mill_heavy

__all__ = ["mill", "mill_broken", "mill_heavy"]
