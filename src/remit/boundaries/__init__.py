"""Boundaries: sources and catalog of an application, checked against rules for its domains."""

from remit.boundaries.asserting import assert_boundaries
from remit.boundaries.baseline import Baseline, Comparison
from remit.boundaries.checking import Finder, Report, check
from remit.boundaries.declared import ENGINES, TESTS, Allow, Boundaries, Exempt
from remit.boundaries.mapping import Map, map_of
from remit.boundaries.model import Model
from remit.boundaries.violations import RULES, Violation

__all__ = [
    # declaring
    "Allow",
    "Boundaries",
    "Exempt",
    "ENGINES",
    "TESTS",
    # checking
    "assert_boundaries",
    "check",
    "map_of",
    "Baseline",
    "Comparison",
    "Finder",
    "Map",
    "Model",
    "Report",
    "RULES",
    "Violation",
]
