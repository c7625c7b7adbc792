"""Boundaries: what sources and catalog together say about the domains of an application, held against its rules."""

from remit.boundaries.declared import ENGINES, TESTS, Allow, Boundaries, Exempt
from remit.boundaries.violations import RULES, Violation

__all__ = ["ENGINES", "RULES", "TESTS", "Allow", "Boundaries", "Exempt", "Violation"]
